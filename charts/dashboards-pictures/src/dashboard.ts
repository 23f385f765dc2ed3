// What of a dashboard's JSON the page reads. In: the file. Out: its types, its variables with the values that Prometheus has for them,
// and text with the variables put in. Draws nothing.

import { type DataTransformerConfig, type FieldConfigSource } from '@grafana/data';

import { labelValues } from './prometheus';

export interface Target {
  refId: string;
  expr: string;
  legendFormat?: string;
  format?: string;
  instant?: boolean;
  interval?: string;
}

export interface Panel {
  id: number;
  type: string;
  title: string;
  description?: string;
  gridPos: { x: number; y: number; w: number; h: number };
  fieldConfig: FieldConfigSource;
  // each kind of panel has options of its own
  options: any;
  targets?: Target[];
  transformations?: DataTransformerConfig[];
  interval?: string;
}

interface Variable {
  name: string;
  label?: string;
  type: string;
  query: string | { query: string };
  allValue?: string;
  hide?: number;
}

export interface Dashboard {
  title: string;
  panels: Panel[];
  templating: { list: Variable[] };
  links: Array<{ title: string; icon: string }>;
  refresh: string;
}

// A variable that is asked of Prometheus is at "All", as the dashboards have it.
export interface Chosen {
  name: string;
  label: string;
  shown: string;
  value: string;
  choices: string[];
}

export function interpolate(text: string, variables: Chosen[], more: Record<string, string> = {}): string {
  const values: Record<string, string> = { ...Object.fromEntries(variables.map((one) => [one.name, one.value])), ...more };
  return text.replace(/\$\{?(\w+)\}?/g, (whole, name) => values[name] ?? whole);
}

export async function choose(dashboard: Dashboard): Promise<Chosen[]> {
  const chosen: Chosen[] = [];
  for (const { name, label = name, type, query, allValue = '.*' } of dashboard.templating.list) {
    if (type === 'datasource') {
      chosen.push({ name, label, shown: 'Prometheus', value: 'prometheus', choices: ['Prometheus'] });
      continue;
    }
    const text = typeof query === 'string' ? query : query.query;
    const [, selector, wanted] = /^label_values\((.+), *(\w+)\)$/.exec(text) ?? [];
    if (!wanted) {
      throw new Error(`the page cannot ask for the variable ${name}: ${text}`);
    }
    const choices = await labelValues(wanted, interpolate(selector, chosen));
    chosen.push({ name, label, shown: 'All', value: allValue, choices });
  }
  return chosen;
}
