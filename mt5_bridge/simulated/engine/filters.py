"""Group filters of symbols, positions, orders and history (rules D2-D5, W1-W8)."""

from __future__ import annotations


def matches_group(name: str, group: str) -> bool:
    """Whether `name` passes a comma list of masks: any matching `!mask` rejects, else any matching mask accepts."""
    accepted = False
    for token in group.split(","):
        mask = token.strip()
        if mask.startswith("!"):
            if matches_mask(name, mask[1:].strip()):
                return False
        elif mask and matches_mask(name, mask):
            accepted = True
    return accepted


def matches_mask(name: str, mask: str) -> bool:
    """One mask with `*` as the only wildcard. It does not go back after a partial match, as the package's does not."""
    position = 0
    floating = False  # the last thing seen was a star: the next letter may start anywhere
    index = 0
    while index < len(mask):
        if mask[index] == "*":
            floating = True
            index += 1
            continue
        end = mask.find("*", index)
        piece = mask[index : len(mask) if end < 0 else end]
        found = (
            _find_forward(name, piece, position) if floating else position if name.startswith(piece, position) else -1
        )
        if found < 0:
            return False
        position = found + len(piece)
        floating = False
        index += len(piece)
    return floating or position == len(name)


def _find_forward(name: str, piece: str, start: int) -> int:
    """Where `piece` is met by one pass over `name`; after a mismatch the pass goes on and does not step back."""
    met = 0
    for index in range(start, len(name)):
        met = met + 1 if name[index] == piece[met] else (1 if name[index] == piece[0] else 0)
        if met == len(piece):
            return index + 1 - len(piece)
    return -1
