from collections import Counter

from rich.table import Table


def show(console, results):
    table = Table("database", "check", "dtype", "passed", "failed", "skipped", "cpu refuses", "s")
    groups = {}
    for r in results:
        groups.setdefault((r.item.database, r.item.check), []).append(r)
    for (a, b), rs in groups.items():
        c = Counter(r.result for r in rs)
        table.add_row(
            a,
            b,
            "",
            *(str(c[x]) for x in ("passed", "failed", "skipped", "cpu_refuses")),
            f"{sum(r.seconds for r in rs):.0f}",
        )
    console.print(table)
