"""The graph over the rows, where an operator asks for it."""

from __future__ import annotations

from psycopg import sql

from vultus.errors import BadArgument
from vultus.gallery.postgres.connections import Connection

_LARGEST = 4000  # numbers of a row that pgvector's graph takes


def is_asked_for(connection: Connection) -> bool:
    """Whether the gallery has a graph, or is to have one."""
    return connection.execute("SELECT 1 FROM facts WHERE name = 'graph'").fetchone() is not None


def ask_for_graph(connection: Connection, dimension: int | None) -> None:
    """Keep a graph of this gallery's rows from now on. The connection is inside a writing transaction.

    Raises:
        BadArgument: the rows are too long for a graph.
    """
    if dimension is not None and dimension > _LARGEST:
        raise BadArgument(
            f"rows of {dimension:,} numbers; pgvector's graph takes {_LARGEST:,}, so leave hnsw= out of the address"
        )
    connection.execute("INSERT INTO facts VALUES ('graph', 'hnsw') ON CONFLICT DO NOTHING")
    if dimension is not None:
        build_graph_where_asked(connection, dimension)


def build_graph_where_asked(connection: Connection, dimension: int) -> None:
    """Build the graph of a gallery that is to have one and has none; rows that are too long for one go without."""
    if dimension <= _LARGEST and is_asked_for(connection):
        statement = "CREATE INDEX IF NOT EXISTS halves_graph ON halves USING hnsw ((half::halfvec({})) halfvec_ip_ops)"
        connection.execute(sql.SQL(statement).format(sql.Literal(dimension)))
