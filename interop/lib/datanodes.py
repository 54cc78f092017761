"""What judges look at on DataNodes' disks: replicas by block, and whether those of one block are all alike."""

import glob
import os

from lib.judge import sha256_file


def replicas(folders, digest):
    """Finalized replicas below the data folders: {block id: {folder: (stamp, length, SHA-256 where asked for)}}."""
    found = {}
    for folder in folders:
        for meta in glob.glob(f"{folder}/current/BP-*/current/finalized/**/blk_*.meta", recursive=True):
            block, stamp = (int(part) for part in os.path.basename(meta)[len("blk_"):-len(".meta")].split("_"))
            path = os.path.join(os.path.dirname(meta), f"blk_{block}")
            try:
                found.setdefault(block, {})[folder] = (stamp, os.path.getsize(path), sha256_file(path) if digest else "")
            except FileNotFoundError:
                continue  # deleted or moved at this moment
    return found


def unlike(folders, copies, blocks=None):
    """What keeps the blocks from having `copies` replicas each that are all alike; empty when nothing does.

    `blocks`: only these count, and others may be on their way out.
    """
    return _unlike(folders, copies, blocks, digest=False) or _unlike(folders, copies, blocks, digest=True)


def _unlike(folders, copies, blocks, digest):
    problems = []
    for block, held in replicas(folders, digest).items():
        if blocks is not None and block not in blocks:
            continue
        if len(held) < copies:
            problems.append(f"blk_{block} has {len(held)} replicas")
        elif len(set(held.values())) > 1:
            problems.append(f"blk_{block} differs: {sorted((stamp, length) for stamp, length, _ in held.values())}")
    return problems
