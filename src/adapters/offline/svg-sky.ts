import type { Scene } from './scene.ts';
import { dots, height, mix, n, shape, width } from './svg-paint.ts';
import type { Point, Sheet } from './svg-paint.ts';
import type { Palette } from './svg-palette.ts';

/** Sun or moon stand in the left third: the main thing stands in the right one. */
const lightX = 430;

/** Sky, stars, sun or moon, clouds, birds' height of the picture. */
export function paintSky(sheet: Sheet, scene: Scene, colors: Palette, horizon: number): void {
  const fill = sheet.linear([0, colors.top], [0.55, colors.mid], [1, colors.low]);
  sheet.add(`<rect width="${width}" height="${n(horizon + 60)}" fill="${fill}"/>`);
  const open = scene.weather === 'clear' || scene.weather === 'snow' || scene.weather === 'cloudy';
  if (scene.time === 'night') paintStars(sheet, scene, open ? 1 : 0.3, horizon);
  if (scene.weather !== 'storm' && scene.weather !== 'rain') paintLight(sheet, scene, colors, horizon);
  if (scene.place !== 'space') paintClouds(sheet, scene, colors, horizon);
}

function paintStars(sheet: Sheet, scene: Scene, share: number, horizon: number): void {
  const { random } = sheet;
  if (scene.weather === 'clear' || scene.place === 'space') {
    // A band of the Milky Way: dust of many small dots along a slope, on a faint blur.
    const tilt = 'rotate(-24 900 200)';
    const band = sheet.radial([0, '#9fb8ff', 0.3], [0.5, '#7f8fd8', 0.12], [1, '#7f8fd8', 0]);
    sheet.add(`<ellipse cx="900" cy="200" rx="900" ry="120" fill="${band}" transform="${tilt}"/>`);
    sheet.stroke(dots(random, 130, 120, 280), '#dfe8ff', 1.2, 0.55, `transform="${tilt}"`);
  }
  sheet.stroke(dots(random, Math.round(220 * share), 0, horizon), '#ffffff', 1.3, 0.55);
  sheet.stroke(dots(random, Math.round(70 * share), 0, horizon * 0.85), '#eaf1ff', 2.2, 0.8);
  sheet.stroke(dots(random, Math.round(14 * share), 0, horizon * 0.7), '#ffffff', 3.6, 0.95);
}

function paintLight(sheet: Sheet, scene: Scene, colors: Palette, horizon: number): void {
  const low = scene.time === 'dawn' || scene.time === 'dusk';
  const y = low ? horizon - 62 : scene.time === 'day' ? 170 : 190;
  const veiled = scene.weather === 'fog' || scene.weather === 'snow';
  sheet.glow(lightX, y, low ? 760 : 460, colors.light, low ? 0.75 : 0.5, low ? 420 : 460);
  const disc = sheet.radial([0, '#ffffff'], [0.8, colors.light], [1, mix(colors.light, colors.mid, 0.25)]);
  const radius = low ? 66 : 50;
  sheet.add(`<circle cx="${lightX}" cy="${n(y)}" r="${radius}" fill="${disc}" opacity="${veiled ? 0.7 : 1}"/>`);
  if (scene.time !== 'night') return;
  const sea = mix(colors.light, colors.mid, 0.3);
  sheet.add(
    `<g fill="${sea}" opacity=".55"><ellipse cx="${lightX - 14}" cy="${y - 12}" rx="15" ry="11"/><ellipse cx="${lightX + 15}" cy="${y + 9}" rx="11" ry="14"/><circle cx="${lightX - 12}" cy="${y + 21}" r="6"/><circle cx="${lightX + 16}" cy="${y - 20}" r="5"/></g>`,
  );
}

function paintClouds(sheet: Sheet, scene: Scene, colors: Palette, horizon: number): void {
  const heavy = scene.weather === 'storm' || scene.weather === 'rain';
  if (heavy) paintCeiling(sheet, scene, colors, horizon);
  const count = { clear: 3, cloudy: 8, rain: 4, storm: 3, snow: 4, fog: 2 }[scene.weather];
  const { random } = sheet;
  for (let index = 0; index < count; index += 1) {
    const y = horizon * (0.16 + 0.62 * ((index + random() * 0.7) / count));
    const near = 1 - y / horizon;
    const long = 150 + 300 * near * (0.5 + random());
    const x = random() * width;
    const lit = mix(colors.low, colors.light, scene.time === 'night' ? 0.12 : 0.6);
    paintCloud(sheet, x, y, long, heavy ? mix(colors.mid, colors.low, 0.35) : lit, scene.time === 'night' ? 0.28 : 0.6);
  }
}

/** A long flat bank and a few rounder heads on it, all without an edge. */
function paintCloud(sheet: Sheet, x: number, y: number, long: number, color: string, strength: number): void {
  const { random } = sheet;
  const fill = sheet.radial([0, color, strength], [0.5, color, strength * 0.6], [1, color, 0]);
  let parts = `<ellipse cx="${n(x)}" cy="${n(y)}" rx="${n(long)}" ry="${n(long * 0.1)}"/>`;
  for (let head = 0; head < 5; head += 1) {
    const offset = (random() - 0.5) * long * 1.1;
    const size = long * (0.2 + random() * 0.22);
    parts += `<ellipse cx="${n(x + offset)}" cy="${n(y - size * 0.12)}" rx="${n(size)}" ry="${n(size * 0.3)}"/>`;
  }
  sheet.add(`<g fill="${fill}">${parts}</g>`);
}

/** The underside of a storm: rolls of cloud from the zenith down, each lit at its lower edge. */
function paintCeiling(sheet: Sheet, scene: Scene, colors: Palette, horizon: number): void {
  const { random } = sheet;
  const storm = scene.weather === 'storm';
  const blur = sheet.blur(storm ? 9 : 16);
  for (let roll = 0; roll < 5; roll += 1) {
    const y = horizon * (0.62 - roll * 0.13);
    const points: Point[] = [];
    for (let x = -100; x <= width + 100; x += 76)
      points.push([x, y + (random() - 0.5) * 70 + Math.sin(x / 190 + roll * 1.9) * 26]);
    let d = `M-100 -100L-100 ${n(y)}`;
    for (const [index, [x, at]] of points.entries()) {
      const bulge = 34 + random() * 40;
      if (index > 0) d += `Q${n(x - 38)} ${n(at + bulge)} ${n(x)} ${n(at)}`;
    }
    const dark = mix(mix(colors.mid, colors.top, roll / 4), '#05070c', storm ? 0.12 + roll * 0.1 : roll * 0.05);
    const fill = sheet.linear([0, dark], [0.72, dark], [1, mix(dark, colors.low, 0.42)]);
    sheet.path(`${d}L${width + 100} -100Z`, fill, `opacity=".8" filter="${blur}"`);
  }
}

/** Lightning, behind the land: a flash in the clouds, a bolt with branches. */
export function paintLightning(sheet: Sheet, horizon: number): void {
  const { random } = sheet;
  const x = 520 + random() * 160;
  sheet.glow(x, horizon * 0.3, 560, '#cfe0ff', 0.55, 330);
  let d = '';
  let branches = '';
  let at: Point = [x, horizon * 0.22];
  const steps = 11;
  for (let step = 1; step <= steps; step += 1) {
    const next: Point = [at[0] + (random() - 0.46) * 62, horizon * (0.22 + (0.78 * step) / steps)];
    d += `${step === 1 ? `M${n(at[0])} ${n(at[1])}` : ''}L${n(next[0])} ${n(next[1])}`;
    if (step % 3 === 1) {
      const side = random() < 0.5 ? -1 : 1;
      branches += `M${n(next[0])} ${n(next[1])}l${n(side * 46)} ${n(26 + random() * 24)}l${n(side * 22)} ${n(34 + random() * 26)}l${n(side * 40)} ${n(22)}`;
    }
    at = next;
  }
  sheet.stroke(d, '#9fc0ff', 16, 0.5, `filter="${sheet.blur(10)}"`);
  sheet.stroke(branches, '#cfdcff', 1.6, 0.7);
  sheet.stroke(d, '#ffffff', 3.4, 0.95);
  sheet.glow(at[0], horizon, 300, '#cfe0ff', 0.4, 70);
}

/** Birds far off: two strokes each. */
export function paintBirds(sheet: Sheet, color: string, horizon: number): void {
  const { random } = sheet;
  let d = '';
  for (let bird = 0; bird < 9; bird += 1) {
    const size = 8 + random() * 15;
    d += `M${n(560 + random() * 520)} ${n(horizon * (0.25 + random() * 0.35))}q${n(size * 0.6)} ${n(-size * 0.7)} ${n(size)} 0q${n(size * 0.4)} ${n(-size * 0.7)} ${n(size)} ${n(-size * 0.1)}`;
  }
  sheet.stroke(d, color, 3, 0.8);
}

/** What falls or drifts before everything else. */
export function paintWeather(sheet: Sheet, scene: Scene, colors: Palette): void {
  const { random } = sheet;
  if (scene.weather === 'rain' || scene.weather === 'storm') {
    const lean = scene.weather === 'storm' ? -0.42 : -0.16;
    for (const [count, long, thick, opacity] of [
      [150, 46, 1.2, 0.3],
      [75, 90, 1.8, 0.3],
    ] as const) {
      let d = '';
      for (let drop = 0; drop < count; drop += 1) {
        const size = long * (0.6 + random() * 0.8);
        d += `M${n(random() * (width + 300))} ${n(random() * height - 60)}l${n(size * lean)} ${n(size)}`;
      }
      sheet.stroke(d, mix(colors.low, '#ffffff', 0.45), thick, opacity);
    }
  }
  if (scene.weather === 'snow') {
    sheet.stroke(dots(random, 260, 0, height), '#ffffff', 3, 0.6);
    sheet.stroke(dots(random, 110, 0, height), '#ffffff', 5.5, 0.75);
    sheet.stroke(dots(random, 26, 0, height), '#ffffff', 13, 0.5, `filter="${sheet.blur(3)}"`);
  }
  if (scene.weather === 'fog')
    for (let bank = 0; bank < 3; bank += 1) paintMist(sheet, colors, 520 + bank * 150, 0.42, 2.4);
}

/** A bank of mist lying before what has been painted so far. */
export function paintMist(sheet: Sheet, colors: Palette, y: number, strength: number, high = 1): void {
  const { random } = sheet;
  const fill = sheet.radial(
    [0, mix(colors.low, '#ffffff', 0.12), strength],
    [0.5, colors.low, strength * 0.5],
    [1, colors.low, 0],
  );
  for (let part = 0; part < 3; part += 1) {
    sheet.add(
      `<ellipse cx="${n(width * (0.1 + 0.4 * part + random() * 0.2))}" cy="${n(y + (random() - 0.5) * 40)}" rx="${n(420 + random() * 300)}" ry="${n((46 + random() * 46) * high)}" fill="${fill}"/>`,
    );
  }
}

/** Darker corners and paper grain: the eye goes to the middle, and gradients show no bands. */
export function paintFinish(sheet: Sheet, shade: number): void {
  const frame = shape([
    [0, 0],
    [width, 0],
    [width, height],
    [0, height],
  ]);
  sheet.path(frame, sheet.radial([0.55, '#000000', 0], [1, '#000000', shade]));
  sheet.add(
    `<rect width="${width}" height="${height}" filter="${sheet.grain()}" opacity=".16" style="mix-blend-mode:overlay"/>`,
  );
}
