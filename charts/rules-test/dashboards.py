#!/usr/bin/env python3
"""The queries of dashboards, as a file of rules that promtool can check. Grafana's variables stand for what they may be.

dashboards.py DASHBOARD.json... > RULES.yaml
"""

import json
import sys

VARIABLES = {"$__rate_interval": "5m", "$namespace": "speech", "$service": "calls"}


def queries(panels):
    for panel in panels:
        for target in panel.get("targets", []):
            yield panel["title"], target["expr"]
        yield from queries(panel.get("panels", []))


def main():
    rules = []
    for path in sys.argv[1:]:
        with open(path) as file:
            panels = json.load(file)["panels"]
        for title, query in queries(panels):
            for name, value in VARIABLES.items():
                query = query.replace(name, value)
            record = f"panel:number_{len(rules)}"
            rules.append({"record": record, "expr": query, "labels": {"panel": title}})
    if not rules:
        sys.exit("these dashboards hold no query")
    json.dump({"groups": [{"name": "dashboards", "rules": rules}]}, sys.stdout, indent=1)


main()
