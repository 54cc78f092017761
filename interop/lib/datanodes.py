"""What judges look at on DataNodes' disks: replicas by block, and whether those of one block are all alike."""

import glob
import hashlib
import os


def replicas(folders):
    """Finalized replicas below the data folders: {block id: {folder: (stamp, length, SHA-256)}}."""
    found = {}
    for folder in folders:
        for meta in glob.glob(f"{folder}/current/BP-*/current/finalized/**/blk_*.meta", recursive=True):
            block, stamp = (int(part) for part in os.path.basename(meta)[len("blk_"):-len(".meta")].split("_"))
            try:
                with open(os.path.join(os.path.dirname(meta), f"blk_{block}"), "rb") as file:
                    bytes_of_it = file.read()
            except FileNotFoundError:
                continue  # deleted or moved at this moment
            found.setdefault(block, {})[folder] = (stamp, len(bytes_of_it), hashlib.sha256(bytes_of_it).hexdigest())
    return found


def unlike(folders, copies):
    """What keeps the blocks from having `copies` replicas each that are all alike; empty when nothing does."""
    problems = []
    for block, held in replicas(folders).items():
        if len(held) < copies:
            problems.append(f"blk_{block} has {len(held)} replicas")
        elif len(set(held.values())) > 1:
            problems.append(f"blk_{block} differs: {sorted((stamp, length) for stamp, length, _ in held.values())}")
    return problems
