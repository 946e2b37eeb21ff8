"""Writes the rows of a Parquet file with another library: `parquet_writers.py pyarrow|duckdb ROWS.parquet FILE`. Prints the
processor time of the writing alone, in seconds, with one thread."""

import sys
import time

import duckdb
import pyarrow.parquet


def main():
    library, rows, file = sys.argv[1:]
    table = pyarrow.parquet.read_table(rows)
    if library == "pyarrow":
        def write():
            pyarrow.parquet.write_table(table, file, compression="zstd")
    else:
        database = duckdb.connect(config={"threads": 1})
        database.register("given", table)
        database.execute("create table rows as from given")

        def write():
            database.execute(f"copy rows to '{file}' (format parquet, compression zstd)")
    start = time.process_time()
    write()
    print(time.process_time() - start)


if __name__ == "__main__":
    main()
