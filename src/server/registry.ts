/** Values of a metric's labels, by name. */
export type Labels<L extends string> = { readonly [label in L]: string };

/** Most label sets of one metric (default). What comes beyond is counted under `other`, so that no input can grow the registry. */
export const maxLabelSets = 100;

/** One line of the exposition: suffix of the metric's name, label text with braces or '', value. */
type Sample = readonly [suffix: string, labels: string, value: number];

interface MetricOptions<L extends string> {
  help: string;
  labels?: readonly L[];
  /** Default `maxLabelSets`. */
  maxSets?: number;
}

abstract class Metric<L extends string, C> {
  readonly name: string;
  readonly help: string;
  abstract readonly type: 'counter' | 'gauge' | 'histogram';
  readonly #labels: readonly L[];
  readonly #maxSets: number;
  readonly #cells = new Map<string, { text: string; cell: C }>();

  constructor(name: string, options: MetricOptions<L>) {
    this.name = name;
    this.help = options.help;
    this.#labels = options.labels ?? [];
    this.#maxSets = options.maxSets ?? maxLabelSets;
  }

  protected abstract cell(): C;
  protected abstract samples(text: string, cell: C): Sample[];

  /** The value of one label set; keep it where it is used often. Beyond the bound: the one whose labels are all `other`. */
  with(labels: Labels<L>): C {
    const values = this.#labels.map((label) => labels[label]);
    const key = values.join('\u0000');
    const known = this.#cells.get(key);
    if (known !== undefined) return known.cell;
    const over = this.#cells.size >= this.#maxSets && values.some((value) => value !== 'other');
    if (over) return this.#other();
    return this.#add(key, values);
  }

  #other(): C {
    const values = this.#labels.map(() => 'other');
    const key = values.join('\u0000');
    return this.#cells.get(key)?.cell ?? this.#add(key, values);
  }

  #add(key: string, values: readonly string[]): C {
    const text = this.#labels.map((label, i) => `${label}="${escapeLabel(values[i] ?? '')}"`).join(',');
    const cell = this.cell();
    this.#cells.set(key, { text, cell });
    return cell;
  }

  render(): string {
    // A metric without labels shows 0 from the start: a missing series breaks rates and alerts.
    if (this.#labels.length === 0 && this.#cells.size === 0) this.#add('', []);
    const lines = [`# HELP ${this.name} ${this.help.replaceAll('\n', ' ')}`, `# TYPE ${this.name} ${this.type}`];
    for (const { text, cell } of this.#cells.values())
      for (const [suffix, labels, value] of this.samples(text, cell))
        lines.push(`${this.name}${suffix}${labels === '' ? '' : `{${labels}}`} ${number(value)}`);
    return `${lines.join('\n')}\n`;
  }
}

/** A number that only grows. */
export class CounterCell {
  value = 0;
  /** Adds `amount` (≥ 0, default 1). */
  add(amount = 1): void {
    this.value += amount;
  }
}

/** A number that goes up and down. */
export class GaugeCell {
  value = 0;
  set(value: number): void {
    this.value = value;
  }
  add(amount: number): void {
    this.value += amount;
  }
}

/** How often a value fell under each bound. */
export class HistogramCell {
  readonly bounds: readonly number[];
  readonly counts: number[];
  sum = 0;
  count = 0;

  constructor(bounds: readonly number[]) {
    this.bounds = bounds;
    this.counts = bounds.map(() => 0);
  }

  /** Counts one value (in the unit of the metric's name). */
  observe(value: number): void {
    this.sum += value;
    this.count += 1;
    const i = this.bounds.findIndex((bound) => value <= bound);
    if (i >= 0) this.counts[i] = (this.counts[i] ?? 0) + 1;
  }
}

/** Prometheus counter. */
export class Counter<L extends string = never> extends Metric<L, CounterCell> {
  readonly type = 'counter';
  protected cell(): CounterCell {
    return new CounterCell();
  }
  protected samples(text: string, cell: CounterCell): Sample[] {
    return [['', text, cell.value]];
  }
}

/** Prometheus gauge. */
export class Gauge<L extends string = never> extends Metric<L, GaugeCell> {
  readonly type = 'gauge';
  protected cell(): GaugeCell {
    return new GaugeCell();
  }
  protected samples(text: string, cell: GaugeCell): Sample[] {
    return [['', text, cell.value]];
  }
}

/** Prometheus histogram; `bounds` ascending, without +Inf. */
export class Histogram<L extends string = never> extends Metric<L, HistogramCell> {
  readonly type = 'histogram';
  static readonly defaultBounds: readonly number[] = [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30, 60, 120, 300];
  readonly #bounds: readonly number[];

  constructor(name: string, options: MetricOptions<L> & { bounds?: readonly number[] }) {
    super(name, options);
    this.#bounds = options.bounds ?? Histogram.defaultBounds;
  }

  protected cell(): HistogramCell {
    return new HistogramCell(this.#bounds);
  }

  protected samples(text: string, cell: HistogramCell): Sample[] {
    const before = text === '' ? '' : `${text},`;
    let total = 0;
    const buckets = cell.bounds.map((bound, i): Sample => {
      total += cell.counts[i] ?? 0;
      return ['_bucket', `${before}le="${number(bound)}"`, total];
    });
    return [
      ...buckets,
      ['_bucket', `${before}le="+Inf"`, cell.count],
      ['_sum', text, cell.sum],
      ['_count', text, cell.count],
    ];
  }
}

/** All metrics of a process, in the order in which they were made. */
export class Registry {
  readonly #metrics: { name: string; render(): string }[] = [];
  readonly #before: (() => void)[] = [];

  /** Adds a metric and returns it. Throws when the name is taken: two of one name make the page unreadable. */
  add<M extends { name: string; render(): string }>(metric: M): M {
    if (this.#metrics.some((other) => other.name === metric.name))
      throw new Error(`metric ${metric.name} exists already`);
    this.#metrics.push(metric);
    return metric;
  }

  /** Calls `fn` before each rendering: the place to read values that are not counted as they happen. */
  collect(fn: () => void): void {
    this.#before.push(fn);
  }

  /** Prometheus text format 0.0.4. */
  render(): string {
    for (const fn of this.#before) fn();
    return this.#metrics.map((metric) => metric.render()).join('');
  }
}

function escapeLabel(value: string): string {
  return value.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n');
}

function number(value: number): string {
  if (Number.isNaN(value)) return 'NaN';
  return Number.isFinite(value) ? String(value) : value > 0 ? '+Inf' : '-Inf';
}
