"""A run on a vision-language model: asked as it came, tuned by TRL on the train split, asked again.

What belongs here: questions and answers of a cohort, both arms, what is released and the way back. What does not: how answers are
judged (tasks/dialogue), texts (text), tiles (batches), supervised tuning itself (TRL). The model is a local transformers folder
with safetensors, a processor and a chat template; low-rank updates of every linear layer move (PEFT). TRL draws no augmentation, so a
run that was stopped goes on from its last checkpoint; that it then ends with the same bytes is not promised, as it is elsewhere.

Report generation and visual questions want trl and datasets: pip install 'rwid[dialogue]'.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from curation.finding import lexicon
from curation.records import ConfigurationError
from training import batches
from training.audit import ARMS, Item, Scores
from training.extraction import read_lexicon
from training.job import Fold, Job, Stopped, plan_folds
from training.judged import judge
from training.operating import wilson
from training.spec import TuneSpec, parse_spec
from training.text import Texts, read_texts

if TYPE_CHECKING:
    from PIL.Image import Image

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

ASKED = ("tune", "test", "holdout")
GENERATED, ADAPTER = "generated.parquet", "dialogue-adapter"
PROMPT = "Write the report of this image."
NEW_TOKENS = 200
"""Longest report that is written."""
SURE = 20.0
"""Logit of what a written report asserts."""


@dataclass(frozen=True)
class Talked:
    """What asking gave: both arms judged, what the model as it came had in mind [N, D], and the lines of the section."""

    scores: Scores
    features: NDArray[np.float32]
    items: list[Item]


@dataclass(frozen=True)
class Dialogue:
    """A vision-language model and its processor, ready to be asked."""

    model: Any
    processor: Any

    def inputs(self, images: Sequence[Image], questions: Sequence[str]) -> Any:
        """Tensors of one user turn each, padded to the left, on the model's device."""
        texts = [
            self.processor.apply_chat_template(_turn(question), add_generation_prompt=True, tokenize=False)
            for question in questions
        ]
        found = self.processor(images=list(images), text=texts, return_tensors="pt", padding=True)
        return found.to(self.model.device)

    def chance_of_yes(
        self, images: Sequence[Image], questions: Sequence[str]
    ) -> tuple[Floats, NDArray[np.float32]]:
        """Logits [n] of yes against no as the first token of the answer, and the last hidden states [n, D] before it."""
        import torch

        yes, no = (
            self.processor.tokenizer(word, add_special_tokens=False)["input_ids"][0] for word in ("yes", "no")
        )
        with torch.inference_mode():
            out = self.model(**self.inputs(images, questions), output_hidden_states=True)
        said = out.logits[:, -1].float()
        return (said[:, yes] - said[:, no]).cpu().double().numpy(), out.hidden_states[-1][
            :, -1
        ].float().cpu().numpy()

    def write(self, images: Sequence[Image], question: str) -> list[str]:
        """A report for each image, greedily."""
        import torch

        inputs = self.inputs(images, [question] * len(images))
        with torch.inference_mode():
            ids = self.model.generate(**inputs, max_new_tokens=NEW_TOKENS, do_sample=False)
        new = ids[:, inputs["input_ids"].shape[1] :]
        return [text.strip() for text in self.processor.tokenizer.batch_decode(new, skip_special_tokens=True)]


def question_of(label: str) -> str:
    """How a label is asked for."""
    return f"Is there {label.replace('_', ' ')}? Answer yes or no."


def fit_all(job: Job, lake_root: Path) -> Talked:
    """Both arms of the cohort's own split.

    Raises ConfigurationError where the method is not lora, the folder is no such model, or trl is not there.
    """
    from training.export import write_environment

    spec = job.spec
    if spec.method.kind != "lora" or spec.split.policy != "cohort" or spec.model.input.kind != "tile":
        raise ConfigurationError(
            f"{spec.task.kind} is tuned by method.kind lora on the cohort's own split, from model.input.kind tile."
        )
    writes = spec.task.kind == "report_generation"
    if writes and (unknown := [name for name in job.names if name not in lexicon()]):
        raise ConfigurationError(
            f"{unknown[0]!r} is no finding of the lexicon, by which written reports are judged; it has: {', '.join(lexicon())}."
        )
    write_environment(job.run, job.device, job.precision)
    talker = load_model(Path(spec.model.id), spec.model.revision, job.device)
    pack = batches.find_pack(
        lake_root,
        job.examples.folder,
        spec.model.input,
        lambda n, of: job.beat("making tiles", 0.02 + 0.1 * n / max(of, 1)),
    )
    tiles = batches.Tiles(pack, len(job.examples))
    texts = read_texts(lake_root, job.examples) if writes else None
    (fold,) = plan_folds(job.examples, "cohort")
    asked = np.flatnonzero(np.isin(job.examples.split, ASKED))
    fold = Fold(fold.name, fold.train, fold.tune, asked, job.examples.split[asked])
    answers, written = {}, {}
    features = _features(job, talker, tiles)
    for arm in ARMS:
        if arm == "tuned":
            talker = _tune(job, fold, talker, tiles, texts)
        answers[arm], written[arm] = _ask(
            job, talker, tiles, asked, writes, 0.2 if arm == "untuned" else 0.75
        )
    scores = judge(job, fold, answers["untuned"], answers["tuned"])
    if writes:
        job.run.write_parquet(GENERATED, _table(job, asked, written))
    return Talked(scores, features, list(_lines(job, scores)) if writes else [])


def load_model(folder: Path, revision: str | None, device: Any) -> Dialogue:
    """The model of a folder. Raises ConfigurationError where it is not one, or another revision."""
    from training.backbones.folder import digest

    if not (folder / "config.json").is_file() or not any(folder.glob("*.safetensors")):
        raise ConfigurationError(
            f"{folder} must hold config.json and *.safetensors of a vision-language model. Mend model.id."
        )
    found = f"sha256:{digest(folder)}"
    if revision and not found.startswith(revision):
        raise ConfigurationError(
            f"{folder} is {found[:19]}, the spec wants {revision[:19]}. Mend model.revision."
        )
    from transformers import AutoModelForImageTextToText, AutoProcessor
    from transformers.utils import logging

    logging.disable_progress_bar()
    logging.set_verbosity_error()
    kept: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    try:
        processor = AutoProcessor.from_pretrained(folder, **kept)
        model, info = AutoModelForImageTextToText.from_pretrained(
            folder, use_safetensors=True, output_loading_info=True, **kept
        )
    except (ValueError, KeyError, OSError, ImportError) as error:
        reason = str(error).splitlines()[0]
        raise ConfigurationError(
            f"transformers cannot load {folder} as a vision-language model: {reason}"
        ) from None
    if info["missing_keys"]:
        raise ConfigurationError(
            f"{folder} lacks {len(info['missing_keys'])} tensors: a model in part random is refused."
        )
    if not getattr(processor, "chat_template", None):
        raise ConfigurationError(
            f"{folder} has no chat template: nobody knows how to ask it. Add chat_template.jinja."
        )
    processor.tokenizer.padding_side = "left"  # what comes next stands behind the last token
    return Dialogue(model.to(device).eval(), processor)


def load_dialogue(run_dir: Path, device: str = "cpu") -> Dialogue:
    """The tuned model of a run. Raises ConfigurationError where it did not finish, or its base is another one."""
    import torch
    from peft import PeftModel

    path = run_dir / "spec.json"
    if not path.is_file() or not (run_dir / ADAPTER / "adapter_model.safetensors").is_file():
        raise ConfigurationError(
            f"Run {run_dir.name} is no dialogue, or did not finish. Run its TuneSpec again."
        )
    spec: TuneSpec = parse_spec(json.loads(path.read_text()), source=f"run {run_dir.name}")
    facts = json.loads((run_dir / "preprocess.json").read_text())
    base = load_model(Path(spec.model.id), facts["revision"], torch.device(device))
    return Dialogue(PeftModel.from_pretrained(base.model, str(run_dir / ADAPTER)).eval(), base.processor)


def _turn(question: str) -> list[dict[str, Any]]:
    return [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": question}]}]


def _images(tiles: batches.Tiles, indices: Ints) -> list[Image]:
    """The first tile of each member as RGB."""
    from PIL import Image

    return [Image.fromarray(np.asarray(one)).convert("RGB") for one in tiles.take(indices)[:, 0].numpy()]


def _features(job: Job, talker: Dialogue, tiles: batches.Tiles) -> NDArray[np.float32]:
    """[N, D] last hidden states of the model as it came, before it would answer the first question."""
    found = []
    for part in batches.batches_of(np.arange(len(job.examples)), job.spec.method.batch_size):
        found.append(talker.chance_of_yes(_images(tiles, part), [question_of(job.names[0])] * len(part))[1])
        job.beat("reading images", 0.15)
    return np.concatenate(found)


def _ask(
    job: Job, talker: Dialogue, tiles: batches.Tiles, asked: Ints, writes: bool, done: float
) -> tuple[Floats, list[str]]:
    """Logits [N, C], NaN for whom nobody asks; and the reports that were written, in the order of `asked`."""
    logits, written = np.full((len(job.examples), len(job.names)), np.nan), []
    for part in batches.batches_of(asked, job.spec.method.batch_size):
        images = _images(tiles, part)
        if writes:
            texts = talker.write(images, PROMPT)
            written += texts
            logits[part] = np.where(read_lexicon(texts, job.names), SURE, -SURE)
        else:
            for c, name in enumerate(job.names):
                logits[part, c] = talker.chance_of_yes(images, [question_of(name)] * len(part))[0]
        job.beat("asking", done)
    return logits, written


def _tune(job: Job, fold: Fold, talker: Dialogue, tiles: batches.Tiles, texts: Texts | None) -> Dialogue:
    """The model with low-rank updates that TRL tuned; goes on from its last checkpoint."""
    try:
        from datasets import Dataset
        from trl import SFTConfig, SFTTrainer
    except ImportError as error:
        raise ConfigurationError(
            f"{job.spec.task.kind} needs {error.name}: pip install 'rwid[dialogue]'."
        ) from None
    from peft import LoraConfig

    spec, folder = job.spec, job.run.checkpoints / "trl"
    rows = list(_taught(job, fold, tiles, texts))
    if not rows:
        raise ConfigurationError(
            "No member of the train split has an answer to learn from. Ingest reports or labels first."
        )
    passes = -(-len(rows) // spec.method.batch_size)
    steps = min(spec.budget.max_steps, spec.budget.max_epochs * passes)
    asked = SFTConfig(
        output_dir=str(folder), max_steps=steps, per_device_train_batch_size=spec.method.batch_size,
        learning_rate=spec.method.lr or 2e-4, lr_scheduler_type="cosine", warmup_steps=max(1, steps // 20),
        weight_decay=spec.method.weight_decay, logging_steps=max(1, steps // 50), save_steps=max(1, steps // 10),
        save_total_limit=2, report_to=[], disable_tqdm=True, max_length=None, seed=spec.seed, data_seed=spec.seed,
        bf16=job.precision == "bf16", use_cpu=job.device.type == "cpu", gradient_checkpointing=job.device.type == "cuda",
    )  # fmt: skip
    updates = LoraConfig(r=spec.method.rank, lora_alpha=2 * spec.method.rank, target_modules="all-linear")
    trainer = SFTTrainer(
        model=talker.model, args=asked, train_dataset=Dataset.from_list(rows), processing_class=talker.processor,
        peft_config=updates, callbacks=[_follower(job, steps)],
    )  # fmt: skip
    former = sorted(folder.glob("checkpoint-*"), key=lambda p: int(p.name.partition("-")[2]))
    trainer.train(resume_from_checkpoint=str(former[-1]) if former else None)
    if job.should_stop() and trainer.state.global_step < steps:
        raise Stopped
    talker.processor.tokenizer.padding_side = "left"
    tuned = Dialogue(trainer.model.eval(), talker.processor)
    _export(job, tuned)
    return tuned


def _taught(job: Job, fold: Fold, tiles: batches.Tiles, texts: Texts | None) -> Iterator[dict[str, Any]]:
    """Conversations of the train split: a report an image, or a question for each label that is known."""
    for index in fold.train:
        (image,) = _images(tiles, np.array([index]))
        if texts is not None:
            pairs = [(PROMPT, texts.text[index])] if texts.text[index] else []
        else:
            known = np.flatnonzero(np.isin(job.targets[index], (0.0, 1.0)))
            pairs = [(question_of(job.names[c]), "yes" if job.targets[index, c] else "no") for c in known]
        for question, answer in pairs:
            said = [{"role": "assistant", "content": [{"type": "text", "text": answer}]}]
            yield {"images": [image], "prompt": _turn(question), "completion": said}


def _follower(job: Job, steps: int) -> Any:
    from transformers import TrainerCallback

    class Follower(TrainerCallback):  # type: ignore[misc]
        """Curves, heartbeat, and a request to stop."""

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **rest: Any) -> None:
            if logs and "loss" in logs:
                job.run.log(state.global_step, int(state.epoch or 0), {"train/loss": float(logs["loss"])})
                job.beat("tuning", 0.25 + 0.45 * state.global_step / steps, state.global_step)

        def on_step_end(self, args: Any, state: Any, control: Any, **rest: Any) -> None:
            control.should_training_stop |= job.should_stop()
            control.should_save |= job.should_stop()

    return Follower()


def _export(job: Job, talker: Dialogue) -> None:
    """The adapter, whole or not at all; and which base it belongs to."""
    from training.backbones.folder import digest

    aside = job.run.path / f".{ADAPTER}-{os.getpid()}"
    shutil.rmtree(aside, ignore_errors=True)
    talker.model.save_pretrained(aside, safe_serialization=True)
    shutil.rmtree(job.run.path / ADAPTER, ignore_errors=True)
    os.rename(aside, job.run.path / ADAPTER)
    facts = {
        "revision": f"sha256:{digest(Path(job.spec.model.id))}",
        "outputs": list(job.names),
        "task": job.spec.task.kind,
        "prompt": PROMPT
        if job.spec.task.kind == "report_generation"
        else [question_of(n) for n in job.names],
    }
    job.run.write_json("preprocess.json", facts)


def _table(job: Job, asked: Ints, written: dict[str, list[str]]) -> pa.Table:
    """generated.parquet: one row a judged study and arm."""
    e = job.examples
    rows = [
        (e.study_id[i].bytes, str(e.site[i]), str(e.split[i]), arm, text)
        for arm in ARMS
        for i, text in zip(asked, written[arm], strict=True)
    ]
    kinds = {
        "study_id": pa.uuid(),
        "site": pa.string(),
        "split": pa.string(),
        "arm": pa.string(),
        "text": pa.string(),
    }
    columns = [pa.array([row[n] for row in rows], kind) for n, kind in enumerate(kinds.values())]
    return pa.Table.from_arrays(columns, names=list(kinds))


def _lines(job: Job, scores: Scores) -> Iterator[Item]:
    """Of the section `generation`: what is left out and what is made up, by finding and arm."""
    for split in ("test", "holdout"):
        here = scores.split == split
        truth = job.truth[scores.index[here]]
        for arm in ARMS:
            says = scores.probability[arm][here] >= 0.5
            for c, name in enumerate(job.names):
                there, absent = truth[:, c] == 1, truth[:, c] == 0
                for what, wrong, among in (
                    ("omitted", there & ~says[:, c], there),
                    ("made up", absent & says[:, c], absent),
                ):
                    where = f"{split}/{name}: {what}, {arm}"
                    if not among.any():
                        yield Item(
                            "report_generation", where, "not_applicable", None, "no such study is judged"
                        )
                        continue
                    share = wilson(int(wrong.sum()), int(among.sum()))
                    text = f"{int(wrong.sum())} of {int(among.sum())} written reports, 95 % {share.low:.2f} to {share.high:.2f}"
                    yield Item("generation", where, "computed", float(wrong.sum() / among.sum()), text)
