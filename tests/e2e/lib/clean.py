# SPDX-License-Identifier: Apache-2.0
"""Leaves nothing behind: every test file begins with no task and with empty servers."""

from cdc import SOURCE, TARGET, Cdc
from pymilvus import connections, db, utility
from pymilvus.client.prepare import Prepare


def aliases(name: str, using: str) -> list[str]:
    """pymilvus cannot describe a collection with a type that it does not know."""
    calls = connections._fetch_handler(using)
    return list(calls._stub.DescribeCollection(Prepare.describe_collection_request(name), timeout=30).aliases)


def empty(side: str, uri: str) -> None:
    """Drops every alias, collection and database."""
    base = f"clean/{side}"
    if connections.has_connection(base):
        connections.disconnect(base)
    connections.connect(base, uri=uri, user="root", password="Milvus", timeout=60)
    for database in db.list_database(using=base):
        alias = f"{base}/{database}"
        connections.connect(alias, uri=uri, user="root", password="Milvus", db_name=database, timeout=60)
        for name in utility.list_collections(using=alias):
            for a in aliases(name, alias):
                utility.drop_alias(a, using=alias)
            utility.drop_collection(name, using=alias)
        connections.disconnect(alias)
        if database != "default":
            db.drop_database(database, using=base)
    connections.disconnect(base)


def clean(cdc: Cdc) -> None:
    if cdc.process is None or cdc.process.poll() is not None:
        cdc.start()
    for task in cdc.ask("list")[1]["data"]["tasks"]:
        cdc.ask("delete", {"task_id": task["task_id"]})
    empty("source", SOURCE)
    empty("target", TARGET)
