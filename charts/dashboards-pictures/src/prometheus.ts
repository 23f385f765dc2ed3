// Asks Prometheus's HTTP API. In: a panel's queries with their variables put in. Out: the frames that Grafana's server makes of the answers,
// after Grafana's own transformer for them. The server's part, which is in Go, is done here: the step, $__rate_interval, the legend.

import {
  type DataFrame,
  type DataQueryRequest,
  FieldType,
  type Labels,
  rangeUtil,
  type TimeRange,
} from '@grafana/data';
import { type PromQuery, transformV2 } from '@grafana/prometheus';

import { type Chosen, interpolate, type Panel, type Target } from './dashboard';

type Sample = [number, string];

interface Series {
  metric: Labels;
  value?: Sample;
  values?: Sample[];
}

async function ask(path: string, parameters: Record<string, string>): Promise<any> {
  const answer = await fetch(`/prometheus/api/v1/${path}?${new URLSearchParams(parameters)}`);
  const content = await answer.json();
  if (content.status !== 'success') {
    throw new Error(`${path}: ${content.error}`);
  }
  return content.data;
}

export function labelValues(label: string, selector: string): Promise<string[]> {
  return ask(`label/${label}/values`, { 'match[]': selector });
}

function legend(format: string | undefined, labels: Labels): string | undefined {
  return format?.replace(/\{\{\s*(\w+)\s*\}\}/g, (_, label) => labels[label] ?? '') || undefined;
}

function frame(target: Target, series: Series): DataFrame {
  const samples = series.values ?? [series.value!];
  const name = legend(target.legendFormat, series.metric);
  return {
    refId: target.refId,
    name,
    length: samples.length,
    meta: { custom: { resultType: series.values ? 'matrix' : 'vector' } },
    fields: [
      { name: 'Time', type: FieldType.time, config: {}, values: samples.map(([seconds]) => seconds * 1000) },
      {
        name: 'Value',
        type: FieldType.number,
        labels: series.metric,
        config: name ? { displayNameFromDS: name } : {},
        values: samples.map(([, value]) => Number(value.replace('Inf', 'Infinity'))),
      },
    ],
  };
}

// The step of a panel so many pixels wide, and the window that a rate needs: four scrapes at least.
function steps(range: TimeRange, width: number, scrape: string, least?: string) {
  const low = least && rangeUtil.intervalToSeconds(least) > rangeUtil.intervalToSeconds(scrape) ? least : scrape;
  const step = rangeUtil.calculateInterval(range, width, low).intervalMs / 1000;
  const scraped = rangeUtil.intervalToSeconds(low);
  return { step, rate: Math.max(step + scraped, 4 * scraped) };
}

export async function query(panel: Panel, variables: Chosen[], range: TimeRange, width: number, scrape: string): Promise<DataFrame[]> {
  const targets = panel.targets ?? [];
  const data = await Promise.all(
    targets.map(async (target) => {
      const { step, rate } = steps(range, width, scrape, target.interval ?? panel.interval);
      const expr = interpolate(target.expr, variables, { __rate_interval: `${rate}s`, __interval: `${step}s` });
      const [from, to] = [range.from.valueOf() / 1000, range.to.valueOf() / 1000];
      // Grafana's server begins at a whole step
      const start = Math.floor(from / step) * step;
      const { result } = target.instant
        ? await ask('query', { query: expr, time: String(to) })
        : await ask('query_range', { query: expr, start: String(start), end: String(to), step: String(step) });
      return (result as Series[]).map((series) => frame(target, series));
    })
  );
  // The transformer reads no more of a request than its queries.
  const request = { targets } as unknown as DataQueryRequest<PromQuery>;
  return transformV2({ data: data.flat() }, request, {}).data;
}
