# SPDX-License-Identifier: Apache-2.0
"""Where a difference lies: in what the target was given, or in what it shows of it.

A Milvus answers from what its query nodes hold. Milvus before July 2024 merges two readers of a channel also when
neither has met a time tick yet, wherever they stand, and so passes over what lies between (its pull request 34562):
on a machine that is busy enough rows stay out of sight that are in the log and in the storage. A release and a load
brings them back; rows that were never written it does not.
"""

from cdc import SOURCE, TARGET
from compare import Database, Server
from pymilvus.grpc_gen import milvus_pb2


def segments(side: Database, db: str, name: str) -> str:
    """(number, rows, state) of what is in its storage, and of what its query nodes hold."""
    request = milvus_pb2.GetPersistentSegmentInfoRequest(collectionName=name, dbName=db)
    stored = side.calls._stub.GetPersistentSegmentInfo(request, timeout=30).infos
    held = side.calls.get_query_segment_info(name, timeout=30)
    return (
        f"stored {sorted((s.segmentID, s.num_rows, s.state) for s in stored)}, "
        f"held {sorted((s.segmentID, s.num_rows, s.state) for s in held)}"
    )


def load_again(name: str) -> str:
    """db.collection, on the target: what was loaded is released and loaded. Tells what was there before."""
    db, _, collection = name.partition(".")
    source, target = Server("source", SOURCE, False).in_db(db), Server("target", TARGET, True).in_db(db)
    partitions = target.partitions(collection)
    states = target.load_states(collection, partitions)
    loaded = [partition for partition in partitions if states[partition] == "Loaded"]
    told = f"source {segments(source, db, collection)}; target {segments(target, db, collection)}"
    target.calls.release_collection(collection, timeout=60)
    if loaded == partitions:
        target.calls.load_collection(collection, timeout=120)
    else:
        target.calls.load_partitions(collection, loaded, timeout=120)
    return told


def load_all_again(names: list[str]) -> None:
    for name in names:
        try:
            told = load_again(name)
        except Exception as error:  # pymilvus lets many kinds through
            told = f"cannot be loaded again: {type(error).__name__}: {error}"
        print(f"# {name}: {told}", flush=True)
