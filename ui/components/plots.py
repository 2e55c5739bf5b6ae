"""The plots of the pages: one look, titles and units on all of them, colours that hold in light and dark.

What belongs here: frames in, Altair charts out, drawn. What does not: asking for the data.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

import altair as alt
import pandas as pd
import streamlit as st

ARMS = {"untuned": "#8C98A4", "tuned": "#2C8CA3"}
SPLITS = {"train": "#2C7A94", "tune": "#7FB3C4", "test": "#CF8A3B", "holdout": "#A8577E"}
BAR = "#3E86A0"
LEFT_OUT = "#C9824F"
_ROW_PX = 26


def bars(
    frame: pd.DataFrame, value: str, amount: str, *, title: str, unit: str = "studies", limit: int = 10
) -> None:
    """Horizontal bars, largest first, with their numbers; what does not fit is summed up in one bar."""
    frame = _rest_in_one(frame[[value, amount]].astype({value: str}), value, amount, limit)
    order = list(frame[value])
    base = alt.Chart(frame).encode(
        y=_rows(value, order),
        x=alt.X(
            f"{amount}:Q",
            title=None,
            axis=None,
            scale=alt.Scale(domain=[0, float(frame[amount].max() or 1) * 1.18]),
        ),
        tooltip=[
            alt.Tooltip(f"{value}:N", title=title),
            alt.Tooltip(f"{amount}:Q", title=unit, format=","),
        ],
    )
    drawn = base.mark_bar(color=BAR, cornerRadiusEnd=3, height={"band": 0.72}) + base.mark_text(
        align="left", dx=5, color=_ink(), fontSize=12
    ).encode(text=alt.Text(f"{amount}:Q", format=","))
    top = f"{order[0]} has most" if order else "nothing yet"
    _draw(
        drawn.properties(height=_ROW_PX * max(1, len(frame)), title=_title(f"{title} ({unit})")),
        f"{title}: {unit}; {top}",
    )


def by_split(frame: pd.DataFrame, value: str, *, title: str) -> None:
    """Horizontal bars of studies, each divided into splits; columns `value`, split and studies."""
    summed = frame.astype({value: str}).groupby(value)["studies"].sum()
    order = list(summed.index if _is_scale(summed.index) else summed.sort_values(ascending=False).index)
    present = [s for s in SPLITS if s in set(frame["split"])]
    rank = {s: n for n, s in enumerate(present)}
    drawn = (
        alt.Chart(frame.astype({value: str}).assign(rank=frame["split"].map(rank)))
        .mark_bar(height={"band": 0.72})
        .encode(
            y=_rows(value, order),
            x=alt.X(
                "sum(studies):Q", title="studies", axis=alt.Axis(tickCount=5, tickMinStep=1, format="~s")
            ),
            color=alt.Color(
                "split:N",
                scale=alt.Scale(domain=present, range=[SPLITS[s] for s in present]),
                legend=_legend(),
            ),
            order=alt.Order("rank:Q"),
            tooltip=[f"{value}:N", "split:N", alt.Tooltip("sum(studies):Q", title="studies", format=",")],
        )
    )
    _draw(
        drawn.properties(height=_ROW_PX * max(1, len(order)), title=_title(f"{title} (studies)")),
        f"{title}: studies by split",
    )


def pick_bars(frame: pd.DataFrame, chosen: Sequence[str], *, title: str, key: str, on_pick: object) -> None:
    """Bars that are a filter: pressing one calls `on_pick`; columns value and studies. Chosen values stand out."""
    frame = frame.assign(value=frame["value"].astype(str))
    frame["is_on"] = frame["value"].isin(list(chosen)) | (not chosen)
    pick = alt.selection_point(name="pick", fields=["value"])
    base = alt.Chart(frame).encode(
        y=_rows("value", list(frame["value"]), limit=120),
        x=alt.X(
            "studies:Q", axis=None, scale=alt.Scale(domain=[0, float(frame["studies"].max() or 1) * 1.3])
        ),
        opacity=alt.condition("datum.is_on", alt.value(1.0), alt.value(0.35)),
        tooltip=[alt.Tooltip("value:N", title=title), alt.Tooltip("studies:Q", format=",")],
    )
    drawn = (
        base.mark_bar(color=BAR, cornerRadiusEnd=3, cursor="pointer", height={"band": 0.72}).add_params(pick)
        + base.mark_text(align="left", dx=4, color=_ink(), fontSize=11).encode(
            text=alt.Text("studies:Q", format=",")
        )
    ).properties(height=22 * max(1, len(frame)), title=_title(title))
    st.altair_chart(
        _inner_height(drawn),
        on_select=on_pick,
        key=key,
        alt=f"Studies by {title.lower()}; press a bar to filter",
    )  # type: ignore[arg-type]


def attrition(frame: pd.DataFrame) -> None:
    """What each rule left of the studies, from top to bottom, and how many it took away; columns rule and studies."""
    frame = frame.reset_index(drop=True)
    frame["removed"] = -frame["studies"].diff().fillna(0).astype(int)
    frame["before"] = frame["studies"] + frame["removed"]
    frame["label"] = [
        f"{left:,}" + (f"   −{gone:,}" if gone else "")
        for left, gone in zip(frame["studies"], frame["removed"], strict=True)
    ]
    base = alt.Chart(frame).encode(
        y=_rows("rule", list(frame["rule"]), limit=280),
        tooltip=[
            alt.Tooltip("rule:N"),
            alt.Tooltip("studies:Q", format=",", title="studies left"),
            alt.Tooltip("removed:Q", format=",", title="taken out"),
        ],
    )
    scale = alt.Scale(domain=[0, float(frame["before"].max() or 1) * 1.25])
    gone = base.mark_bar(color=LEFT_OUT, opacity=0.35, height={"band": 0.62}).encode(
        x=alt.X("before:Q", axis=None, scale=scale)
    )
    left = base.mark_bar(color=BAR, height={"band": 0.62}).encode(
        x=alt.X("studies:Q", axis=None, scale=scale)
    )
    text = base.mark_text(align="left", dx=6, color=_ink(), fontSize=12).encode(
        x=alt.X("before:Q", axis=None, scale=scale), text="label:N"
    )
    _draw(
        (gone + left + text).properties(height=36 * len(frame), title=_title("Studies left after each rule")),
        f"From {frame['studies'].iloc[0]:,} studies, {frame['studies'].iloc[-1]:,} are left after {len(frame) - 1} rules",
    )


def prevalence(frame: pd.DataFrame) -> None:
    """Share of positive studies among the known ones, per label and site; a site alone can give a label away."""
    summed = frame.groupby(["label", "site"], as_index=False)[["known", "positive"]].sum()
    summed = summed[summed["known"] > 0].assign(share=lambda f: f["positive"] / f["known"])
    if summed.empty:
        st.caption("No study says yes or no to any of them.")
        return
    drawn = (
        alt.Chart(summed)
        .mark_point(filled=True, size=90, opacity=0.9)
        .encode(
            x=alt.X(
                "share:Q",
                title="positive of known",
                axis=alt.Axis(format=".0%", tickCount=6),
                scale=alt.Scale(domain=[0, max(0.05, float(summed["share"].max()))], nice=True),
            ),
            y=alt.Y("label:N", title=None, axis=alt.Axis(ticks=False, domain=False, grid=True)),
            color=alt.Color("site:N", legend=_legend()),
            shape=alt.Shape("site:N"),
            tooltip=["label:N", "site:N", alt.Tooltip("share:Q", format=".1%"), "known:Q", "positive:Q"],
        )
    )
    _draw(
        drawn.properties(
            height=34 * summed["label"].nunique() + 30, title=_title("Positive of known, by site")
        ),
        "Share of positive studies per label and site",
    )


def curves(frame: pd.DataFrame, names: Sequence[str], *, title: str, by: str = "step") -> None:
    """Training curves: columns name, value and `by`, which is the step or, on a log scale, a quantity above 0."""
    frame = frame[frame["name"].isin(list(names))]
    is_step = by == "step"
    axis = (
        alt.Axis(tickMinStep=1, format=",d", grid=False)
        if is_step
        else alt.Axis(tickCount=6, format="~g", grid=False)
    )
    drawn = (
        alt.Chart(frame)
        .mark_line(point=alt.OverlayMarkDef(size=22), strokeWidth=2)
        .encode(
            x=alt.X(
                f"{by}:Q",
                title=by,
                axis=axis,
                scale=alt.Undefined if is_step else alt.Scale(type="log", nice=False),
            ),
            y=alt.Y("value:Q", title=None, scale=alt.Scale(zero=False)),
            color=alt.Color("name:N", legend=_legend()),
            tooltip=["name:N", alt.Tooltip(f"{by}:Q", format="~g"), alt.Tooltip("value:Q", format=".4f")],
        )
    )
    _draw(drawn.properties(height=240, title=_title(title)), f"{title} by {by}")


def learning_curve(frame: pd.DataFrame) -> None:
    """AUROC by the number of patients who teach; columns patients, kind (measured or power law), value, low, high."""
    frame = frame.dropna(subset=["value"])
    kinds = ["measured", "power law"]
    base = alt.Chart(frame).encode(
        x=alt.X(
            "patients:Q",
            title="patients who teach",
            scale=alt.Scale(type="log", nice=False, padding=14),
            axis=alt.Axis(tickCount=5, format="~s", grid=False),
        ),
        color=alt.Color(
            "kind:N", scale=alt.Scale(domain=kinds, range=[ARMS["tuned"], LEFT_OUT]), legend=_legend()
        ),
        tooltip=[
            alt.Tooltip("patients:Q", format=","),
            "kind:N",
            alt.Tooltip("value:Q", format=".3f", title="AUROC"),
            alt.Tooltip("low:Q", format=".3f"),
            alt.Tooltip("high:Q", format=".3f"),
        ],
    )
    y = alt.Y("value:Q", title="AUROC with 95 % interval", scale=alt.Scale(zero=False, nice=True))
    line = alt.Chart(frame).mark_line(color="#8A96A3", strokeDash=[4, 4]).encode(x="patients:Q", y=y)
    rules = base.mark_rule(strokeWidth=2.5, strokeCap="round").encode(y=alt.Y("low:Q"), y2="high:Q")
    dots = base.mark_point(filled=True, size=80, opacity=1).encode(
        y=y, shape=alt.Shape("kind:N", sort=kinds, legend=None)
    )
    _draw(
        alt.layer(line, rules, dots).properties(
            height=230, title=_title("Learning curve of a probe on frozen features")
        ),
        "AUROC by the number of patients who teach, measured and by the power law",
    )


def intervals(
    frame: pd.DataFrame,
    row: str,
    *,
    title: str,
    metric: str,
    colour: str = "arm",
    reference: float | None = None,
    order: Sequence[str] = (),
) -> None:
    """Estimates with 95 % intervals: one line a row (such as a site), one dot an arm; columns value, low, high, n.

    Rows come in `order` where it is given, else `all` first. A frame without the column `arm` has one dot a row.
    """
    frame = frame.dropna(subset=["value"])
    if colour == "arm" and not set(frame.get("arm", ())) & set(ARMS):
        frame = frame.assign(arm="tuned")
        legend = None
    else:
        legend = _legend()
    order = [o for o in order if o in set(frame[row])] or sorted(
        frame[row].unique(), key=lambda v: (v != "all", str(v))
    )
    arms = [a for a in ARMS if a in set(frame[colour])] if colour == "arm" else sorted(frame[colour].unique())
    scale = (
        alt.Scale(domain=arms, range=[ARMS[a] for a in arms]) if colour == "arm" else alt.Scale(domain=arms)
    )
    base = alt.Chart(frame).encode(
        y=_rows(row, order, limit=200, grid=True),
        yOffset=alt.YOffset(f"{colour}:N", sort=arms),
        color=alt.Color(f"{colour}:N", scale=scale, legend=legend),
        tooltip=[
            f"{row}:N",
            f"{colour}:N",
            alt.Tooltip("value:Q", format=".3f", title=metric),
            alt.Tooltip("low:Q", format=".3f"),
            alt.Tooltip("high:Q", format=".3f"),
            alt.Tooltip("n:Q", format=","),
        ],
    )
    rules = base.mark_rule(strokeWidth=2.5, strokeCap="round").encode(
        x=alt.X(
            "low:Q",
            title=f"{metric} with 95 % interval",
            axis=alt.Axis(tickCount=7, format=".2f"),
            scale=alt.Scale(zero=False, nice=False, padding=12),  # rounded up, an axis of AUROC went beyond 1
        ),
        x2="high:Q",
    )
    dots = base.mark_point(filled=True, size=80, opacity=1).encode(
        x="value:Q", shape=alt.Shape(f"{colour}:N", sort=arms, legend=None)
    )
    layers = [rules, dots]
    if reference is not None:
        layers.insert(
            0,
            alt.Chart(pd.DataFrame({"at": [reference]}))
            .mark_rule(strokeDash=[4, 4], color="#8A96A3")
            .encode(x="at:Q"),
        )
    height = (20 * len(arms) + 14) * max(1, len(order)) + 20
    _draw(
        alt.layer(*layers).properties(height=height, title=_title(title)),
        f"{title}: {metric} with intervals, {len(order)} rows",
    )


def _is_scale(values: Iterable[str]) -> bool:
    """Whether values have an order of their own, as age bands have, which a reader expects to see."""
    return any(re.fullmatch(r"\d+-\d+", v) for v in values)


def _rest_in_one(frame: pd.DataFrame, value: str, amount: str, limit: int) -> pd.DataFrame:
    if _is_scale(frame[value]):
        return frame.sort_values(value)
    frame = frame.sort_values(amount, ascending=False, kind="stable").reset_index(drop=True)
    if len(frame) <= limit:
        return frame
    rest = pd.DataFrame(
        {value: [f"{len(frame) - limit + 1} others"], amount: [frame[amount].iloc[limit - 1 :].sum()]}
    )
    return pd.concat([frame.iloc[: limit - 1], rest], ignore_index=True)


def _rows(field: str, order: Sequence[str], *, limit: int = 150, grid: bool = False) -> alt.Y:
    return alt.Y(
        f"{field}:N",
        sort=list(order),
        title=None,
        axis=alt.Axis(
            labelLimit=limit, labelPadding=6, labelColor=_ink(), ticks=False, domain=False, grid=grid
        ),
    )


def _legend() -> alt.Legend:
    return alt.Legend(orient="top", title=None, offset=6, padding=0)


def _title(text: str) -> alt.TitleParams:
    return alt.TitleParams(text, anchor="start", frame="bounds", offset=10)


def _ink() -> str:
    return "#C9D2DB" if st.context.theme.type == "dark" else "#3B4855"


def _draw(chart: alt.Chart | alt.LayerChart, said: str) -> None:
    st.altair_chart(_inner_height(chart), alt=said)


def _inner_height(chart: alt.Chart | alt.LayerChart) -> alt.Chart | alt.LayerChart:
    """Height counts the rows alone: title, legend and axis come on top of it, so that rows never overlap."""
    return chart.properties(
        autosize=alt.AutoSizeParams(type="fit-x", contains="padding"),
        padding={"left": 2, "right": 6, "top": 2, "bottom": 0},
    )
