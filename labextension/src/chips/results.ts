import type { ICell, IMetric, IRun } from '../api';
import { formatValue, mainMetric } from '../format';

/** What one cell gave a run. */
export interface ICellResult {
  runId: string;
  /** The execution that gave it; the last one of the cell that gave anything. */
  cell: ICell;
  /** The metric that tells most, or `null` where the cell logged none. */
  metric: string | null;
  /** What the chip says: `val_auc 0.931`. */
  text: string;
  /** Everything that the cell gave, one a line. */
  all: string[];
}

const KINDS = ['model', 'artifact', 'dataset', 'param'];

/** What the cells of a notebook gave a run: for each cell, its last results. */
export function resultsOf(run: IRun, cells: readonly ICell[]): ICellResult[] {
  const found = new Map<string, ICellResult>();
  for (const cell of cells) {
    const result = resultOf(run, cell);
    if (result) {
      found.set(cell.cell_id ?? `source ${cell.source_hash}`, result);
    }
  }
  return [...found.values()];
}

function resultOf(run: IRun, cell: ICell): ICellResult | null {
  const metrics = run.metrics.filter(metric => metric.cell === cell.index);
  const products = [...(cell.products ?? [])].sort(
    (a, b) => KINDS.indexOf(a.kind) - KINDS.indexOf(b.kind)
  );
  const main = mainMetric(metrics);
  const [product] = products;
  const first = main
    ? metricText(main)
    : product
      ? productText(run, product)
      : null;
  if (first === null) {
    return null;
  }
  const all = [
    ...metrics.map(metricText),
    ...products.map(one => productText(run, one))
  ];
  return {
    runId: run.run_id,
    cell,
    metric: main?.key ?? null,
    text: all.length > 1 ? `${first} +${all.length - 1}` : first,
    all
  };
}

function metricText(metric: IMetric): string {
  return `${metric.key} ${formatValue(metric.value, 4)}`;
}

function productText(
  run: IRun,
  product: { kind: string; name: string }
): string {
  if (product.kind === 'param') {
    return `${product.name}=${run.params[product.name] ?? ''}`;
  }
  const model = product.kind === 'model' ? product.name.slice(0, 10) : null;
  return model === null ? product.name : `model ${model}`;
}

/**
 * Whether a cell holds something else now than what ran. Where the source was not
 * kept as it was, its hash tells, if the browser can hash on this connection.
 */
export async function isChanged(cell: ICell, source: string): Promise<boolean> {
  if (source === cell.source) {
    return false;
  }
  // Browsers hash only on secure connections, whatever the types say.
  const subtle = crypto.subtle as SubtleCrypto | undefined;
  if (!subtle) {
    return cell.source !== '';
  }
  const bytes = await subtle.digest(
    'SHA-256',
    new TextEncoder().encode(source)
  );
  const hash = [...new Uint8Array(bytes)]
    .map(byte => byte.toString(16).padStart(2, '0'))
    .join('');
  return hash !== cell.source_hash;
}
