"""The SDK runs EventQL queries, and makes writes depend on them."""

from typing import Any

import pytest
from eventsourcingdb import Client, IsEventQlQueryTrue

from tests.support.sdk import Place, Sdk, collect

LIBRARY = (("42", 20), ("42", 30.5), ("7", None))


def rows(api: Sdk, query: str) -> list[Any]:
    async def work(client: Client) -> list[Any]:
        return await collect(client.run_eventql_query(query))

    return api.run(work)


@pytest.fixture
def library(api: Sdk, place: Place) -> Place:
    async def work(client: Client) -> None:
        await client.write_events(
            [place.event("books", name, data={"price": price}) for name, price in LIBRARY]
        )

    api.run(work)
    return place


def within(place: Place) -> str:
    return f"FROM e IN events WHERE STARTSWITH(e.subject, '{place.below('books')}/')"


def test_rows_are_the_projected_values(api: Sdk, library: Place) -> None:
    for projection, expected in (
        ("e.data.price", [20, 30.5, None]),
        ("e.data.price > 25", [False, True, False]),
        ("null", [None, None, None]),
        ("{ count: COUNT(), average: AVG(e.data.price) }", [{"count": 3, "average": 25.25}]),
        ("[COUNT() > 2, 'x']", [[True, "x"]]),
        ("COUNT() == 0", [False]),
    ):
        assert rows(api, f"{within(library)} PROJECT INTO {projection}") == expected


def test_a_whole_event_is_as_it_is_read(api: Sdk, library: Place) -> None:
    found = rows(api, f"{within(library)} ORDER BY e.time DESC PROJECT INTO e")

    assert [event["data"]["price"] for event in found] == [None, 30.5, 20]
    assert all(event["subject"].startswith(library.below("books")) for event in found)
    assert found[1]["predecessorhash"] == found[2]["hash"]


def test_a_malformed_query_fails_with_its_place(api: Sdk) -> None:
    api.check_fails(
        lambda client: collect(client.run_eventql_query("FROM e IN events PROJECT e")),
        status=200,
        text="1:26: ",
        code="query-malformed",
    )


def test_a_value_that_cannot_be_converted_fails_with_its_event(api: Sdk, library: Place) -> None:
    api.check_fails(
        lambda client: collect(
            client.run_eventql_query(f"{within(library)} PROJECT INTO e.type AS INT")
        ),
        status=200,
        text="event '",
        code="query-unevaluable",
    )


def test_a_write_depends_on_a_query(api: Sdk, place: Place) -> None:
    query = f"FROM e IN events WHERE e.subject == '{place.below('seat')}' PROJECT INTO COUNT() < 2"

    async def book(client: Client) -> list[Any]:
        return await client.write_events([place.event("seat")], [IsEventQlQueryTrue(query)])

    assert len(api.run(book)) == 1
    assert len(api.run(book)) == 1
    api.check_fails(book, status=409, text="precondition failed", code="precondition-violated")


@pytest.mark.parametrize(
    "query",
    [
        "FROM e IN events PROJECT INTO COUNT()",
        "FROM e IN events WHERE e.subject == '/nobody' PROJECT INTO true",
        "FROM e IN events PROJECT INTO true",
    ],
)
def test_a_query_without_one_boolean_row_is_no_precondition(
    api: Sdk, library: Place, query: str
) -> None:
    api.check_fails(
        lambda client: client.write_events([library.event("x")], [IsEventQlQueryTrue(query)]),
        status=400,
        text="must have one row",
        code="query-not-boolean",
    )
