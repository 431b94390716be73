/** Size of a sketch, 8:5, in its own units. */
export const width = 1536;
export const height = 960;

export type Point = readonly [x: number, y: number];

/** A number as short as it can be without being seen. */
export function n(value: number): string {
  return String(Math.round(value * 10) / 10);
}

/** A colour between two `#rrggbb`: 0 = the first, 1 = the second. */
export function mix(from: string, to: string, share: number): string {
  const t = Math.min(1, Math.max(0, share));
  let out = '#';
  for (let at = 1; at < 7; at += 2) {
    const a = Number.parseInt(from.slice(at, at + 2), 16);
    const b = Number.parseInt(to.slice(at, at + 2), 16);
    out += Math.round(a + (b - a) * t)
      .toString(16)
      .padStart(2, '0');
  }
  return out;
}

/** The `d` of a closed shape with straight edges. */
export function shape(points: readonly Point[]): string {
  return `M${points.map(([x, y]) => `${n(x)} ${n(y)}`).join('L')}Z`;
}

/** The `d` of the land under a line of heights, from edge to edge, smooth or with corners. */
export function land(heights: readonly number[], smooth: boolean, bottom = height): string {
  const step = width / (heights.length - 1);
  const points = heights.map((y, index): Point => [index * step, y]);
  const [first] = heights;
  if (!smooth) return `M0 ${bottom}L${points.map(([x, y]) => `${n(x)} ${n(y)}`).join('L')}L${width} ${bottom}Z`;
  const curves = points.slice(0, -1).map(([x, y], index) => {
    const next = points[index + 1] ?? [x, y];
    return `Q${n(x)} ${n(y)} ${n((x + next[0]) / 2)} ${n((y + next[1]) / 2)}`;
  });
  return `M0 ${bottom}V${n(first ?? bottom)}${curves.join('')}L${width} ${n(heights.at(-1) ?? bottom)}V${bottom}Z`;
}

/** Heights of hills: slow waves and smaller ones on them, around `y`. */
export function hills(random: () => number, y: number, amplitude: number, steps = 24): number[] {
  const waves = [0.6, 1.3, 2.9, 5.3].map((pitch, index) => ({
    pitch: pitch * (0.8 + random() * 0.5),
    phase: random() * 6.28,
    size: amplitude / (index + 1),
  }));
  return Array.from({ length: steps + 1 }, (_, index) =>
    waves.reduce((sum, wave) => sum + Math.sin((index / steps) * 6.28 * wave.pitch + wave.phase) * wave.size, y),
  );
}

/** Heights of a mountain ridge: midpoint displacement, 64 steps, rough as rock. */
export function peaks(random: () => number, y: number, amplitude: number): number[] {
  let line = [y + (random() - 0.5) * amplitude, y + (random() - 0.5) * amplitude];
  let reach = amplitude;
  for (let round = 0; round < 6; round += 1) {
    const finer: number[] = [];
    for (const [index, from] of line.entries()) {
      finer.push(from);
      const to = line[index + 1];
      if (to !== undefined) finer.push((from + to) / 2 + (random() - 0.5) * reach);
    }
    line = finer;
    reach *= 0.56;
  }
  return line;
}

/** Dots as one path: with round ends and almost no length, a stroke is a dot. */
export function dots(random: () => number, count: number, top: number, bottom: number): string {
  let d = '';
  for (let index = 0; index < count; index += 1) {
    d += `M${n(random() * width)} ${n(top + random() * (bottom - top))}h.1`;
  }
  return d;
}

type Stop = readonly [offset: number, color: string, opacity?: number];

/** Collects the parts of one SVG image. Gradients and filters are made once and named by number; nothing refers to anything outside. */
export class Sheet {
  readonly random: () => number;
  readonly #defs = new Map<string, string>();
  readonly #body: string[] = [];

  constructor(random: () => number) {
    this.random = random;
  }

  add(markup: string): void {
    this.#body.push(markup);
  }

  /** From top to bottom of what is filled. */
  linear(...stops: Stop[]): string {
    return this.#define(`<linearGradient id="?" x2="0" y2="1">${stopMarkup(stops)}</linearGradient>`);
  }

  /** From left to right of what is filled. */
  across(...stops: Stop[]): string {
    return this.#define(`<linearGradient id="?">${stopMarkup(stops)}</linearGradient>`);
  }

  /** From the middle of what is filled outwards. */
  radial(...stops: Stop[]): string {
    return this.#define(`<radialGradient id="?">${stopMarkup(stops)}</radialGradient>`);
  }

  blur(deviation: number): string {
    return this.#define(
      `<filter id="?" x="-50%" y="-50%" width="200%" height="200%"><feGaussianBlur stdDeviation="${deviation}"/></filter>`,
    );
  }

  /** Fine paper grain: it keeps wide gradients from showing bands. */
  grain(): string {
    return this.#define(
      '<filter id="?" x="0" y="0" width="100%" height="100%"><feTurbulence type="fractalNoise" baseFrequency=".8" numOctaves="2" seed="3"/><feColorMatrix values="0 0 0 0 .5 0 0 0 0 .5 0 0 0 0 .5 0 0 0 .9 -.32"/></filter>',
    );
  }

  clip(d: string): string {
    return this.#define(`<clipPath id="?"><path d="${d}"/></clipPath>`);
  }

  /** A soft light: a disc that fades to nothing, added to what is below it. */
  glow(x: number, y: number, radiusX: number, color: string, strength: number, radiusY = radiusX): void {
    const fill = this.radial(
      [0, color, strength],
      [0.25, color, strength * 0.45],
      [0.6, color, strength * 0.12],
      [1, color, 0],
    );
    this.add(
      `<ellipse cx="${n(x)}" cy="${n(y)}" rx="${n(radiusX)}" ry="${n(radiusY)}" fill="${fill}" style="mix-blend-mode:screen"/>`,
    );
  }

  path(d: string, fill: string, extra = ''): void {
    this.add(`<path d="${d}" fill="${fill}"${extra === '' ? '' : ` ${extra}`}/>`);
  }

  stroke(d: string, color: string, thickness: number, opacity = 1, extra = ''): void {
    this.add(
      `<path d="${d}" fill="none" stroke="${color}" stroke-width="${n(thickness)}" stroke-linecap="round" stroke-linejoin="round" opacity="${Math.round(opacity * 100) / 100}"${extra === '' ? '' : ` ${extra}`}/>`,
    );
  }

  /** The image; mirrored, the same composition looks the other way. */
  toSvg(mirrored: boolean): string {
    const turn = mirrored ? ` transform="matrix(-1 0 0 1 ${width} 0)"` : '';
    return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}"><defs>${[...this.#defs.values()].join('')}</defs><g${turn}>${this.#body.join('')}</g></svg>`;
  }

  #define(markup: string): string {
    const id = `d${this.#defs.size}`;
    const known = this.#defs.get(markup);
    if (known !== undefined) return `url(#${/id="(d\d+)"/u.exec(known)?.[1] ?? id})`;
    this.#defs.set(markup, markup.replace('id="?"', `id="${id}"`));
    return `url(#${id})`;
  }
}

function stopMarkup(stops: readonly Stop[]): string {
  return stops
    .map(([offset, color, opacity]) => {
      const alpha = opacity === undefined ? '' : ` stop-opacity="${Math.round(opacity * 100) / 100}"`;
      return `<stop offset="${offset}" stop-color="${color}"${alpha}/>`;
    })
    .join('');
}
