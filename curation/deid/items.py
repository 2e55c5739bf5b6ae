"""The walk inside: the elements of an item, sequences in sequences, private groups, one value carried out.

What belongs here: lengths and nesting below the top level, and what is done with one element. What does not: the order of
the dataset itself (walk), single values (values), recognising items built alike (shapes).
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from mmap import mmap

from curation import part10
from curation.deid import codes, values
from curation.deid.actions import goes_when_emptied
from curation.deid.explicit import WIDTH, element
from curation.deid.memory import Context, Facts, Hit
from curation.deid.policy import Act, Decision, Policy
from curation.deid.private import creator_of
from curation.deid.pseudonyms import Pseudonyms
from curation.deid.shapes import MISSING, Shape, shape_of
from curation.deid.tables import DESCRIPTOR_OF, DESCRIPTORS
from curation.part10 import UNDEFINED, Budget, short_of
from curation.records import Refused

_HEAD = struct.Struct("<HH2sH").unpack_from
_U32 = struct.Struct("<L").unpack_from
_ITEM = struct.Struct("<4sL").pack
_U16 = struct.Struct("<H").pack
_NEVER = 1 << 40
_REMEMBERED_ELEMENTS, _REMEMBERED_BYTES = 4096, 2048
_SHAPES, _SHAPES_A_KEY = 4096, 6


class Items(Context):
    """Everything below the top level of one dataset."""

    def __init__(
        self, data: bytes | mmap, policy: Policy, pseudonyms: Pseudonyms, site: str, facts: Facts
    ) -> None:
        super().__init__(data, policy, pseudonyms, site, facts)
        self.budget = Budget()

    def memory(self, depth: int) -> dict[bytes, Hit]:
        """What became of elements at this depth; the cap on nesting counts from where a sequence stands."""
        found = self.person.by_depth.get(depth)
        if found is None:
            found = self.person.by_depth[depth] = {}
        return found

    def items(self, pos: int, end: int, depth: int, tag: int, *, is_open: bool) -> tuple[bytes, int]:
        """The items of sequence `tag` with defined lengths, and where the sequence ends."""
        if depth > part10.MAX_DEPTH:
            raise Refused("malformed")
        data, out = self.data, []
        while is_open or pos < end:
            item, length, pos = part10.item_header(data, pos, end, self.budget)
            if item == part10.SEQUENCE_END and is_open:
                break
            if item != part10.ITEM:
                raise Refused("malformed")
            is_item_open = length == UNDEFINED
            if not is_item_open and length > end - pos:
                raise short_of(data, end)
            content, pos = self.item(pos, end if is_item_open else pos + length, depth, (tag, length))
            if content is not None:
                out.append(_ITEM(b"\xfe\xff\x00\xe0", len(content)))
                out.append(content)
        return b"".join(out), pos

    def item(self, pos: int, end: int, depth: int, key: tuple[int, int]) -> tuple[bytes | None, int]:
        """The content of one item and where the item ends; `key` says in which sequence, and how long it is."""
        is_open = key[1] == UNDEFINED
        known = self.rules.shapes.get(key)
        if known is not None:
            for shape in known:
                if shape.size <= end - pos and shape.fits(self.data, pos):
                    if depth + shape.n_levels > part10.MAX_DEPTH:
                        raise Refused("malformed")
                    self.budget.left -= shape.n_elements
                    if self.budget.left < 0:
                        raise Refused("too_large")
                    content = self.shaped(shape, pos, depth)
                    if content is not None:
                        return content, pos + shape.size
                    self.rules.rigid.add(key[0])
                    known.remove(shape)
                    break
        content, stop = self.elements(pos, end, depth, is_open=is_open)
        if is_open:
            stop += 8
        self.learn_shape(pos, stop, key, known)
        return content, stop

    def learn_shape(self, pos: int, stop: int, key: tuple[int, int], known: list[Shape] | None) -> None:
        """Remember the form of an item; from the second of its key on, since most items stand alone."""
        shapes = self.rules.shapes
        if known is None:
            if len(shapes) >= _SHAPES:
                shapes.clear()
            shapes[key] = []
        elif len(known) < _SHAPES_A_KEY:
            shape = shape_of(
                self.data,
                pos,
                stop,
                self.rules.nested,
                is_open=key[1] == UNDEFINED,
                has_private=bool(self.policy.private),
                is_rigid=key[0] in self.rules.rigid,
            )
            if shape is not None:
                known.append(shape)

    def shaped(self, shape: Shape, pos: int, depth: int) -> bytes | None:
        """The content of an item that has this shape: copied, but for its changes.

        None where a value inside a sequence did not keep its length: the sequence must be written anew.
        """
        data, cache, loose = self.data, self.memory(depth), self.loose
        out: list[bytes] = []
        run = pos
        for change in shape.changes:
            begin, end = pos + change.begin, pos + change.end
            if run < begin:
                piece = data[run:begin]
                out.append(piece)
                loose.append(piece)
            run = end
            raw = data[begin:end]
            hit = cache.get(raw)
            if hit is None:
                if change.is_private:
                    hit = self.private_hit(raw, begin, end, depth)
                else:
                    level = depth + change.level
                    hit = self.fresh(raw, change.rule, change.tag, change.vr, pos + change.start, end, level)
            else:
                self.again(hit)
            if change.level and len(hit[0]) != end - begin:
                return None
            if hit[0]:
                out.append(hit[0])
        end = pos + shape.size - (8 if shape.is_open else 0)
        if run < end:
            piece = data[run:end]
            out.append(piece)
            loose.append(piece)
        return b"".join(out)

    def again(self, hit: Hit) -> None:
        """An element met before: what it logs and names, and what is to be looked through once."""
        if hit[1]:
            self.log += hit[1]
        if hit[2]:
            self.seen += hit[2]
        self.repeated.add(hit[0])

    def elements(self, pos: int, end: int, depth: int, *, is_open: bool) -> tuple[bytes | None, int]:
        """The elements of an item, up to end or its delimiter (is_open); None for an item that may not stay.

        One long loop on purpose: it runs once an element, and kept elements are copied in runs, not one by one.
        """
        data, by_vr, budget = self.data, self.rules.nested, self.budget
        cache, private = self.memory(depth), self.policy.private
        out: list[bytes] = []
        run, last, n = pos, -1, 0
        mark = _NEVER
        coded: dict[int, bytes] | None = None
        is_dead = False
        while pos < end:
            at = pos
            group, number, vr, length = _HEAD(data, pos)
            tag = group << 16 | number
            n += 1
            entry = by_vr.get(vr)
            if entry is None:
                if is_open and tag == part10.ITEM_END and _U32(data, pos + 4)[0] == 0 and end - pos >= 8:
                    break
                raise Refused("malformed")
            is_long, rules = entry
            start = pos + 8
            if is_long:
                if length:
                    raise Refused("malformed")
                length = _U32(data, start)[0]
                start += 4
            if tag <= last:
                raise Refused("malformed")
            if private and group & 1:
                if run < pos:
                    out.append(data[run:pos])
                chunk, pos, last = self.private_group(pos, end, depth)
                run = pos
                out.append(chunk)
                continue
            last = tag
            if tag >= mark:
                if run < pos:
                    out.append(data[run:pos])
                    run = pos
                is_dead |= self.flush_code(out, coded)
                coded, mark = None, _NEVER
            if length & 1:
                # odd, or undefined: the slow road
                if run < pos:
                    out.append(data[run:pos])
                chunk, pos = self.odd(tag, vr, start, length, end, depth, rules)
                run = pos
                if chunk:
                    out.append(chunk)
                continue
            stop = start + length
            if stop > end:
                raise short_of(data, end)
            rule = rules.get(tag, MISSING)
            if type(rule) is int:
                if length <= rule:
                    pos = stop
                    continue
            elif rule is Act.NUMBER:
                if not data[start:stop].strip(values.NUMBER):
                    pos = stop
                    continue
            elif (rule is Act.CODE and length <= 16 and not data[start:stop].strip(values.CODE)) or (
                rule is Act.TIME and not data[start:stop].strip(values.TIME)
            ):
                pos = stop
                continue
            if run < pos:
                out.append(data[run:pos])
            pos = run = stop
            if type(rule) is Decision and rule.act is Act.CODED:
                coded = coded or {}
                coded[tag] = data[start:stop]
                mark = codes.LAST + 1
                continue
            raw = data[at:stop]
            hit = cache.get(raw)
            if hit is None:
                hit = self.fresh(raw, rule, tag, vr, start, stop, depth)
            else:
                self.again(hit)
            if hit[0]:
                out.append(hit[0])
        else:
            if is_open:
                raise short_of(data, end)
        budget.left -= n
        if budget.left < 0:
            raise Refused("too_large")
        if run < pos:
            out.append(data[run:pos])
        if coded is not None:
            is_dead |= self.flush_code(out, coded)
        # sequences among them are looked through twice; sorting them out would cost more
        self.loose += out
        return (None if is_dead else b"".join(out)), pos

    def fresh(self, raw: bytes, rule: object, tag: int, vr: bytes, start: int, stop: int, depth: int) -> Hit:
        """What becomes of an element not met before for this person; remembered, since a series repeats itself."""
        n_log, n_seen = len(self.log), len(self.seen)
        chunk = self.value(rule, tag, vr, start, stop, depth)
        hit = chunk, self.log[n_log:], self.seen[n_seen:]
        if vr != b"SQ":
            self.loose.append(chunk)
        # the data of a table hang on the descriptor before them
        is_fact = (not depth and getattr(rule, "fact", False)) or tag in DESCRIPTORS or tag in DESCRIPTOR_OF
        # dates and UIDs inside items differ from frame to frame, and have memories of their own
        is_passing = depth and getattr(rule, "act", None) in (Act.DATE, Act.UID) and vr != b"SQ"
        if len(raw) <= _REMEMBERED_BYTES and not is_fact and not is_passing:
            self.remember(raw, hit, depth)
        return hit

    def remember(self, raw: bytes, hit: Hit, depth: int) -> None:
        """Keep what became of these bytes."""
        memory = self.memory(depth)
        if len(memory) >= _REMEMBERED_ELEMENTS:
            memory.clear()
        memory[raw] = hit

    def flush_code(self, out: list[bytes], coded: dict[int, bytes] | None) -> bool:
        """Write a coded entry; True where the item must go."""
        if not coded:
            return False
        key = ("code", *sorted(coded.items()))
        if key not in self.memo:
            self.memo[key] = codes.clean_code(coded) or b""
        chunk = self.memo[key]
        out.append(chunk)
        self.log.append(("(0008,0104)", "C" if chunk else "X"))
        return not chunk

    def odd(
        self, tag: int, vr: bytes, start: int, length: int, end: int, depth: int, rules: Mapping[int, object]
    ) -> tuple[bytes, int]:
        """An element of undefined or odd length: what is written for it, and where it ends."""
        rule = rules.get(tag, MISSING)
        if length != UNDEFINED:
            stop = start + length
            if stop > end:
                raise short_of(self.data, end)
            if vr == b"SQ":
                raise Refused("malformed")
            if type(rule) is Decision and rule.act is not Act.CODED:
                return self.value(rule, tag, vr, start, stop, depth), stop
            if rule is Act.NUMBER and not self.data[start:stop].strip(values.NUMBER):
                return element(tag, vr, self.data[start:stop]), stop
            if rule is Act.CODE:
                return values.code(self, tag, vr, self.data[start:stop]), stop
            if rule is Act.TIME:
                return values.time(self, tag, vr, self.data[start:stop]), stop
            self.note(tag)
            return b"", stop
        if vr == b"SQ" and isinstance(rule, Decision):
            content, pos = self.items(start, end, depth + 1, tag, is_open=True)
            return self.sequence(rule, tag, content), pos
        if vr not in (b"SQ", b"UN", b"OB", b"OW"):  # OB, OW: an encapsulated icon
            raise Refused("malformed")
        self.note(tag)
        return b"", part10.skip_items(
            self.data, start, end, self.budget, depth=depth + 1, is_implicit=vr == b"UN"
        )

    def sequence(self, rule: Decision, tag: int, content: bytes) -> bytes:
        """A sequence written, emptied or removed; its items have been walked either way, for what they name."""
        if rule.act is Act.SEQUENCE or rule.act is Act.UID:
            if not content and goes_when_emptied(tag):
                return b""
            return element(tag, b"SQ", content)
        self.log.append(rule.log)
        return element(tag, b"SQ", b"") if rule.act is Act.EMPTY else b""

    def value(self, rule: object, tag: int, vr: bytes, start: int, stop: int, depth: int) -> bytes:
        """One element of defined length carried out; b"" where it is removed."""
        if not isinstance(rule, Decision):
            raw = self.data[start:stop]
            if rule is Act.CODE:
                return values.code(self, tag, vr, raw)
            if rule is Act.NUMBER and not raw.strip(values.NUMBER):
                return element(tag, vr, raw)
            if rule is Act.TIME:
                return values.time(self, tag, vr, raw)
            return self.removed(tag)
        if vr == b"SQ":
            content, _ = self.items(start, stop, depth + 1, tag, is_open=False)
            return self.sequence(rule, tag, content)
        if rule.act is Act.DROP and not rule.harvest:
            self.log.append(rule.log)
            return b""
        raw = self.data[start:stop]
        if rule.harvest and raw:
            self.seen.append((rule.harvest, raw))
        if tag in DESCRIPTORS:
            self.values[f"{tag:08x}"] = raw
        if rule.fact and not depth:
            self.values[rule.keyword] = raw
        return values.CARRY_OUT[rule.act](self, rule, tag, vr, raw, depth)

    def private_hit(self, raw: bytes, begin: int, end: int, depth: int) -> Hit:
        """A whole private group, remembered: its creators stand in it, so that nothing else decides of it."""
        n_log, n_seen = len(self.log), len(self.seen)
        chunk, stop, _ = self.private_group(begin, end, depth)
        if stop != end:
            raise Refused("malformed")
        hit = chunk, self.log[n_log:], self.seen[n_seen:]
        if len(raw) <= _REMEMBERED_BYTES:
            self.remember(raw, hit, depth)
        return hit

    def private_group(self, pos: int, end: int, depth: int) -> tuple[bytes, int, int]:
        """The elements of one private group that are known to be safe, where the group ends, and its last tag.

        An element is known by the creator of its block in the same item, its number, and its VR; all else goes, and so does
        a creator whose block has nothing left.
        """
        data, group = self.data, _HEAD(self.data, pos)[0]
        creators: dict[int, bytes] = {}
        kept: dict[int, list[bytes]] = {}
        last = -1
        while end - pos >= 8 and _HEAD(data, pos)[0] == group:
            tag, vr, start, length = part10.explicit_header(data, pos, end)
            self.budget.spend()
            if tag <= last:
                raise Refused("malformed")
            last, number = tag, tag & 0xFFFF
            block = number >> 8
            if length == UNDEFINED:
                chunk, pos = self.private_open(tag, vr, start, end, depth, creators.get(block))
            else:
                stop = start + length
                if stop > end:
                    raise short_of(data, end)
                if 0x10 <= number <= 0xFF:
                    creators[number] = creator_of(data[start:stop])
                    pos = stop
                    continue
                chunk, pos = self.private_value(tag, vr, start, stop, depth, creators.get(block)), stop
            if chunk:
                kept.setdefault(block, []).append(chunk)
        out = [element(group << 16 | block, b"LO", creators[block]) for block in sorted(kept)]
        self.seen += [("block", _U16(group) + creators[block]) for block in sorted(kept)]
        out += [chunk for block in sorted(kept) for chunk in kept[block]]
        return b"".join(out), pos, last

    def private_rule(self, tag: int, vr: bytes, creator: bytes | None) -> tuple[Decision, int] | None:
        """The rule of a safe private element and the most bytes it may have; None where it is unknown or of another VR."""
        if creator is None:
            return None
        known = self.policy.private.get((creator, tag >> 16), {}).get(tag & 0xFF)
        return known if known is not None and vr in (known[0].vrs[0], b"UN") else None

    def private_open(
        self, tag: int, vr: bytes, start: int, end: int, depth: int, creator: bytes | None
    ) -> tuple[bytes, int]:
        """A private element of undefined length: a known sequence is walked, anything else goes."""
        known = self.private_rule(tag, vr, creator)
        if vr == b"SQ" and known is not None:
            content, pos = self.items(start, end, depth + 1, tag, is_open=True)
            return self.sequence(known[0], tag, content), pos
        if vr not in (b"SQ", b"UN", b"OB", b"OW"):
            raise Refused("malformed")
        self.note(tag)
        is_implicit = vr == b"UN"
        pos = part10.skip_items(self.data, start, end, self.budget, depth=depth + 1, is_implicit=is_implicit)
        return b"", pos

    def private_value(
        self, tag: int, vr: bytes, start: int, stop: int, depth: int, creator: bytes | None
    ) -> bytes:
        """A private element of defined length; one that came as UN has the VR of the table."""
        known = self.private_rule(tag, vr, creator)
        if known is None or stop - start > known[1] or (stop - start) & 1:
            return self.removed(tag)
        rule, known_vr = known[0], known[0].vrs[0]
        if known_vr == b"SQ" and vr == b"UN":  # such a sequence is in implicit VR
            return self.removed(tag)
        if rule.act is Act.KEEP and (stop - start) % WIDTH[known_vr]:
            return self.removed(tag)
        return self.value(rule, tag, known_vr, start, stop, depth)
