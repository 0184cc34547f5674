"""Run migrations on the connection that `worker.ledger.migrate` passes."""

import time
from typing import Any, cast

from alembic import context
from alembic.ddl.postgresql import PostgresqlImpl
from sqlalchemy import Column, Connection, Index, Table, text
from sqlalchemy.exc import OperationalError

from worker.ledger.schema import metadata

# The name of an index while its successor is built, with the version that had it.
_REPLACED = "__until_"
_LOCK_NOT_AVAILABLE = "55P03"
_LOCK_WAIT_SECONDS = 0.5


class _ResumablePostgresqlImpl(PostgresqlImpl):
    """Commit each step alone, and skip what an interrupted migration has done already.

    An index of a large table is built while events are written. An index that a migration drops remains under
    another name until the migration is done: its successor may be unique, and must not leave a gap.
    """

    __dialect__ = "postgresql"

    def create_table(self, table: Table, **kw: Any) -> None:
        super().create_table(table, **kw | {"if_not_exists": True})

    def add_column(self, table_name: str, column: Column[Any], **kw: Any) -> None:
        # It locks the table. While it waits for a backup that reads the table, all later statements wait for it.
        while True:
            self._exec(text(f"SET lock_timeout = '{_LOCK_WAIT_SECONDS}s'"))
            try:
                return super().add_column(table_name, column, **kw | {"if_not_exists": True})
            except OperationalError as error:
                if getattr(error.orig, "sqlstate", None) != _LOCK_NOT_AVAILABLE:
                    raise
            finally:
                self._exec(text("SET lock_timeout = 0"))
            time.sleep(2 * _LOCK_WAIT_SECONDS)

    def create_index(self, index: Index, **kw: Any) -> None:
        is_valid = self._validity(str(index.name))
        if is_valid:
            return
        if is_valid is False:
            # Building it was interrupted.
            self._exec(text(f'DROP INDEX CONCURRENTLY "{index.name}"'))
        index.dialect_options["postgresql"]["concurrently"] = self._has_rows(str(index.table.name))  # type: ignore[union-attr]
        super().create_index(index, **kw)

    def drop_index(self, index: Index, **kw: Any) -> None:  # noqa: ARG002 - the signature is that of alembic
        version = self._scalar("SELECT max(version_num) FROM alembic_version")
        new_name = f"{index.name}{_REPLACED}{version}"
        if self._validity(str(index.name)) is not None and self._validity(new_name) is None:
            self._exec(text(f'ALTER INDEX "{index.name}" RENAME TO "{new_name}"'))

    def drop_replaced(self, version: str | None) -> None:
        """Drop the indexes that migrations before this version have replaced."""
        query = "SELECT relname FROM pg_class WHERE relkind = 'i' AND relnamespace = current_schema()::regnamespace"
        for name in self._connection.execute(text(query)).scalars().all():
            _, mark, until = name.rpartition(_REPLACED)
            if mark and until != version:
                self._exec(text(f'DROP INDEX CONCURRENTLY "{name}"'))

    def _validity(self, name: str) -> bool | None:
        is_valid: bool | None = self._scalar(
            "SELECT indisvalid FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid "
            "WHERE relname = :name AND relnamespace = current_schema()::regnamespace",
            name=name,
        )
        return is_valid

    def _has_rows(self, table: str) -> bool:
        return bool(self._scalar("SELECT pg_relation_size(to_regclass(:name)) > 0", name=table))

    def _scalar(self, statement: str, **values: str) -> Any:
        return self._connection.scalar(text(statement), values)

    @property
    def _connection(self) -> Connection:
        # None only where migrations are printed.
        return cast("Connection", self.connection)


def _run() -> None:
    context.configure(
        connection=context.config.attributes["connection"],
        target_metadata=metadata,
        transactional_ddl=False,
    )
    migrations = context.get_context()
    resumable = migrations.impl if isinstance(migrations.impl, _ResumablePostgresqlImpl) else None
    if resumable is not None:
        resumable.drop_replaced(migrations.get_current_revision())
    context.run_migrations()
    if resumable is not None:
        resumable.drop_replaced(None)


_run()
