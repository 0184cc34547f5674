"""Close the books: account for every accepted event and every delivery."""

from worker.ledger.reports import books
from worker.ledger.reports.books import Books
from worker.operations.caller import Caller


def close_books(caller: Caller, *, audit: bool = False) -> Books:
    """Account for every accepted event and every delivery at one moment.

    ``audit`` counts every row as well, which takes seconds for each million of them.
    """
    with caller.ledger.snapshot() as connection:
        return books.recount_books(connection) if audit else books.balance_books(connection)
