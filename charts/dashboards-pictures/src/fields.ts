// Transformations, units, thresholds and overrides. In: frames and a panel. Out: the frames as its kind of panel takes them, all of it by
// Grafana's functions; the table of properties stands for the one that Grafana's server part registers.

import {
  applyFieldOverrides,
  type DataFrame,
  type FieldConfigPropertyItem,
  FieldConfigOptionsRegistry,
  type FieldConfigSource,
  type GrafanaTheme2,
  standardTransformers,
  standardTransformersRegistry,
  transformDataFrame,
  type TransformerRegistryItem,
} from '@grafana/data';
import {
  AxisPlacement,
  GraphDrawStyle,
  GraphGradientMode,
  LineInterpolation,
  ScaleDistribution,
  StackingMode,
  VisibilityMode,
} from '@grafana/schema';
import { merge } from 'lodash';
import { lastValueFrom } from 'rxjs';

import { type Panel } from './dashboard';

standardTransformersRegistry.setInit(() =>
  // one of them is listed under two names
  [...new Set(Object.values(standardTransformers))].map(
    (transformation) => ({ id: transformation.id, name: transformation.name, transformation }) as unknown as TransformerRegistryItem
  )
);

// What a new panel of the kind `timeseries` has in Grafana.
const TIMESERIES = {
  drawStyle: GraphDrawStyle.Line,
  lineInterpolation: LineInterpolation.Linear,
  lineWidth: 1,
  fillOpacity: 0,
  gradientMode: GraphGradientMode.None,
  showPoints: VisibilityMode.Auto,
  pointSize: 5,
  spanNulls: false,
  barAlignment: 0,
  stacking: { mode: StackingMode.None, group: 'A' },
  scaleDistribution: { type: ScaleDistribution.Linear },
  axisPlacement: AxisPlacement.Auto,
  axisGridShow: true,
  thresholdsStyle: { mode: 'off' },
  hideFrom: { legend: false, tooltip: false, viz: false },
};

const STANDARD = ['unit', 'min', 'max', 'decimals', 'displayName', 'noValue', 'thresholds', 'mappings', 'links', 'color', 'filterable'];
const CUSTOM = [...Object.keys(TIMESERIES), 'align', 'cellOptions', 'width', 'minWidth', 'axisLabel', 'axisSoftMax', 'axisSoftMin', 'lineStyle'];

const properties = new FieldConfigOptionsRegistry(() => {
  const item = (path: string, isCustom: boolean) => ({
    id: isCustom ? `custom.${path}` : path,
    path,
    name: path,
    isCustom,
    process: (value: unknown) => value,
    shouldApply: () => true,
  });
  return [...STANDARD.map((path) => item(path, false)), ...CUSTOM.map((path) => item(path, true))] as unknown as FieldConfigPropertyItem[];
});

export function fieldConfig(panel: Panel): FieldConfigSource {
  const defaults = panel.type === 'timeseries' ? { color: { mode: 'palette-classic' }, custom: TIMESERIES } : {};
  return { defaults: merge({}, defaults, panel.fieldConfig.defaults), overrides: panel.fieldConfig.overrides };
}

// A graph has a gap where a value is none, as in Grafana's own panel.
function finite(frame: DataFrame): DataFrame {
  const fields = frame.fields.map((field) => ({ ...field, values: field.values.map((value) => (Number.isFinite(value) ? value : null)) }));
  return { ...frame, fields };
}

export async function prepare(panel: Panel, frames: DataFrame[], theme: GrafanaTheme2): Promise<DataFrame[]> {
  const transformed = await lastValueFrom(transformDataFrame(panel.transformations ?? [], frames));
  return applyFieldOverrides({
    data: panel.type === 'timeseries' ? transformed.map(finite) : transformed,
    fieldConfig: fieldConfig(panel),
    fieldConfigRegistry: properties,
    replaceVariables: (text) => text,
    theme,
    timeZone: 'utc',
  });
}
