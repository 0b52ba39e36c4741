# SPDX-License-Identifier: Apache-2.0
"""Users, roles and grants; and what cannot be replicated: changed passwords and bulk imports are told."""

import json
import os
import signal
from pathlib import Path
from typing import Any

from cdc import SOURCE, TARGET, Cdc, until
from pymilvus import Collection, CollectionSchema, DataType, FieldSchema, Role, connections, utility

# with a user, so that it works whether or not the servers want one: a grant has to have a grantor
for side, uri in (("b5_source", SOURCE), ("b5_target", TARGET)):
    connections.connect(side, uri=uri, user="root", password="Milvus")
PASSWORD = "Secret-1234"
task = ""


def users(alias: str) -> list[str]:
    return sorted(u for u in utility.list_usernames(using=alias) if u.startswith("b5_"))


def roles_of(user: str, alias: str) -> list[str]:
    return [r for item in utility.list_user(user, True, using=alias).groups for r in item.roles]


def roles(alias: str) -> list[str]:
    return sorted(i.role_name for i in utility.list_roles(False, using=alias).groups if i.role_name.startswith("b5_"))


def grants(role: str, alias: str) -> list[tuple[str, str, str]]:
    found = Role(role, using=alias).list_grants().groups
    return sorted((g.object, g.object_name, g.privilege) for g in found)


def clean(alias: str) -> None:
    for role in roles(alias):
        for g in Role(role, using=alias).list_grants().groups:
            Role(role, using=alias).revoke(g.object, g.object_name, g.privilege)
        Role(role, using=alias).drop()
    for user in users(alias):
        utility.delete_user(user, using=alias)


def warnings(cdc: Cdc) -> list[str]:
    return list(cdc.get(task)["warnings"])


def told(cdc: Cdc, text: str) -> int:
    return cdc.said().count(text)


def test_users_and_roles_that_exist_at_the_start_arrive(cdc: Cdc) -> None:
    global task
    clean("b5_source")
    clean("b5_target")
    utility.create_user("b5_alice", PASSWORD, using="b5_source")
    Role("b5_reader", using="b5_source").create()
    Role("b5_reader", using="b5_source").add_user("b5_alice")
    task = cdc.create(["b5_imported"], extra_info={"enable_user_role": True})
    until(lambda: users("b5_target") == ["b5_alice"], 30, "the user arrives")
    until(lambda: roles_of("b5_alice", "b5_target") == ["b5_reader"], 30, "and has the role")


def test_grants_arrive_and_go(cdc: Cdc) -> None:
    role = Role("b5_reader", using="b5_source")
    role.grant("Collection", "b5_imported", "Insert")
    role.grant("Collection", "*", "Search")
    role.grant("Global", "*", "CreateCollection")
    Role("public", using="b5_source").grant("Collection", "b5_imported", "Query")
    want = [
        ("Collection", "*", "Search"),
        ("Collection", "b5_imported", "Insert"),
        ("Global", "*", "CreateCollection"),
    ]
    until(lambda: grants("b5_reader", "b5_target") == want, 30, "the grants arrive")
    until(lambda: ("Collection", "b5_imported", "Query") in grants("public", "b5_target"), 30, "public's, too")
    role.revoke("Collection", "b5_imported", "Insert")
    Role("public", using="b5_source").revoke("Collection", "b5_imported", "Query")
    until(lambda: grants("b5_reader", "b5_target") == [want[0], want[2]], 30, "the revoke arrives")
    until(lambda: ("Collection", "b5_imported", "Query") not in grants("public", "b5_target"), 30, "public's, too")


def test_what_changes_while_the_daemon_is_dead_arrives(cdc: Cdc) -> None:
    cdc.end(signal.SIGKILL)
    Role("b5_reader", using="b5_source").remove_user("b5_alice")
    utility.create_user("b5_bob", PASSWORD, using="b5_source")
    Role("b5_writer", using="b5_source").create()
    Role("b5_writer", using="b5_source").add_user("b5_bob")
    Role("b5_writer", using="b5_source").grant("Collection", "b5_imported", "Delete")
    cdc.start()
    until(lambda: users("b5_target") == ["b5_alice", "b5_bob"], 30, "the new user arrives")
    until(lambda: grants("b5_writer", "b5_target") == [("Collection", "b5_imported", "Delete")], 30, "and the grant")
    until(lambda: roles_of("b5_bob", "b5_target") == ["b5_writer"], 30, "and the membership")
    assert roles_of("b5_alice", "b5_target") == []


def test_a_changed_password_is_told_by_name_once(cdc: Cdc) -> None:
    other = connections._fetch_handler("b5_source")
    assert not [w for w in warnings(cdc) if "password" in w]
    # a connection of its own: the client goes on with the new password, as the other user
    connections.connect("b5_reset", uri=SOURCE, user="root", password="Milvus")
    utility.reset_password("b5_alice", PASSWORD, "Other-5678", using="b5_reset")
    connections.disconnect("b5_reset")
    assert other is connections._fetch_handler("b5_source")
    until(lambda: any("user 'b5_alice'" in w for w in warnings(cdc)), 30, "the warning is shown")
    assert told(cdc, "user 'b5_alice': the password was changed") == 1
    assert PASSWORD not in cdc.said() and "$2a$" not in cdc.said()
    cdc.end()
    cdc.start()
    assert any("user 'b5_alice'" in w for w in warnings(cdc)), "and after a restart, too"
    assert told(cdc, "user 'b5_alice': the password was changed") == 1, "but it is not told again"


def test_users_and_roles_are_dropped(cdc: Cdc) -> None:
    clean("b5_source")
    until(lambda: not users("b5_target") and not roles("b5_target"), 30, "the drops arrive")
    until(lambda: not any("b5_alice" in w for w in warnings(cdc)), 30, "the warning goes with its user")


def bulk_insert(first: int, n: int) -> None:
    folder = Path(os.environ["RUN_DIR"]) / "source" / "data" / "b5"
    folder.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, Any]] = [{"id": first + i, "v": [0.5] * 4} for i in range(n)]
    file = folder / f"rows{first}.json"
    file.write_text(json.dumps({"rows": rows}))
    job = utility.do_bulk_insert("b5_imported", [str(file)], using="b5_source")
    until(lambda: utility.get_bulk_insert_state(job, using="b5_source").state_name == "Completed", 60, "imported")


def test_a_bulk_import_is_told_with_the_collections_name(cdc: Cdc) -> None:
    schema = CollectionSchema(
        [FieldSchema("id", DataType.INT64, is_primary=True), FieldSchema("v", DataType.FLOAT_VECTOR, dim=4)]
    )
    if utility.has_collection("b5_imported", using="b5_source"):
        utility.drop_collection("b5_imported", using="b5_source")
    c = Collection("b5_imported", schema, using="b5_source")
    c.insert([[1, 2], [[0.1] * 4] * 2])
    c.flush()
    until(lambda: utility.has_collection("b5_imported", using="b5_target"), 30, "the collection arrives")
    assert not [w for w in warnings(cdc) if "b5_imported" in w]
    bulk_insert(100, 5)
    mine = until(lambda: [w for w in warnings(cdc) if "b5_imported" in w], 30, "the warning is shown")
    assert mine[0].startswith("collection default.b5_imported: 5 rows were imported in bulk"), mine
    assert "Import the same files into the target" in mine[0]
    assert told(cdc, "5 rows were imported in bulk") == 1


def test_a_bulk_import_while_the_daemon_is_dead_is_told_and_no_import_twice(cdc: Cdc) -> None:
    cdc.end(signal.SIGKILL)
    bulk_insert(200, 3)
    cdc.start()
    until(lambda: told(cdc, "default.b5_imported: 3 rows were imported in bulk"), 30, "the warning is told")
    assert told(cdc, "5 rows were imported in bulk") == 1
    assert len([w for w in warnings(cdc) if "b5_imported" in w]) == 1, "one a collection"
    cdc.end()
    cdc.start()
    assert len([w for w in warnings(cdc) if "b5_imported" in w]) == 1, "there again"
    assert told(cdc, "3 rows were imported in bulk") == 1, "not told again"
    utility.drop_collection("b5_imported", using="b5_source")
    until(lambda: not any("b5_imported" in w for w in warnings(cdc)), 30, "it goes with the collection")
    cdc.delete(task)
