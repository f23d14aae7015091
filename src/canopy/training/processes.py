"""What the processes that train one run give each other."""

from typing import Any

import torch.distributed


def is_connected() -> bool:
    """Check whether this process is one of several."""
    return torch.distributed.is_available() and torch.distributed.is_initialized()


def gather(own: dict[str, Any]) -> list[dict[str, Any]]:
    """Collect the objects of all processes by rank; all must call it."""
    if not is_connected():
        return [own]
    parts: list[dict[str, Any]] = [{}] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(parts, own)
    return parts


def from_first(found: Any = None) -> Any:
    """Give each process what the first one has found; all must call it."""
    values = [found]
    if is_connected():
        torch.distributed.broadcast_object_list(values)
    return values[0]
