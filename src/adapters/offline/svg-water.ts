import type { Weather } from './lexicon.ts';
import type { Scene } from './scene.ts';
import { crest, firs, horizons, reeds } from './svg-ground.ts';
import type { Ground } from './svg-ground.ts';
import { height, hills, land, mix, n, peaks, shape, width } from './svg-paint.ts';
import type { Point, Sheet } from './svg-paint.ts';
import type { Palette } from './svg-palette.ts';
import { paintMist } from './svg-sky.ts';

/** A coast: water in rows of waves, a headland at the right. */
export function paintSea(sheet: Sheet, weather: Weather, colors: Palette): Ground {
  const { random } = sheet;
  const horizon = horizons.sea;
  sheet.path(land(hills(random, horizon - 14, 9), true, horizon + 6), colors.at(0.12));
  paintWater(sheet, colors, horizon);
  paintHeadland(sheet, colors);
  const rough = weather === 'storm' ? 1 : weather === 'rain' ? 0.5 : 0.24;
  for (let row = 0; row < 6; row += 1) {
    const y = horizon + 62 + row * row * 9 + row * 26;
    const size = (4 + row * 6) * (0.5 + rough * 1.5);
    const line = swell(random, y, size, 20 - row * 2);
    const body = mix(colors.water, colors.near, 0.15 + row * 0.13);
    sheet.path(
      land(line, true),
      sheet.linear([0, mix(body, colors.low, 0.26 - row * 0.02)], [0.35, body], [1, mix(body, colors.near, 0.6)]),
      'opacity=".92"',
    );
    if (rough > 0.4)
      sheet.stroke(
        crest(line),
        mix(colors.low, '#ffffff', 0.55),
        1.5 + row * 0.5,
        0.3,
        `stroke-dasharray="${90 - row * 8} ${40 + row * 30} 30 70"`,
      );
  }
  paintRocks(sheet, colors);
  return {
    main: { x: 1130, y: 412, scale: 1.25, distance: 0.75 },
    front: { x: 1290, y: 900, scale: 0.9 },
    water: { x: 480, y: 740 },
  };
}

/** Heights of a row of waves: sharp tops, round troughs. */
function swell(random: () => number, y: number, size: number, count: number): number[] {
  const phase = random() * 6.28;
  const points = count * 4;
  return Array.from({ length: points + 1 }, (_, index) => {
    const turn = (index / 4) * 3.14 + phase;
    return (
      y -
      Math.abs(Math.sin(turn)) ** 0.8 * size * (0.6 + 0.5 * Math.sin(index * 0.37 + phase)) +
      (random() - 0.5) * size * 0.24
    );
  });
}

/** Water up to the bottom edge, with the light of the sky lying on it in short strokes. */
function paintWater(sheet: Sheet, colors: Palette, horizon: number): void {
  const { random } = sheet;
  const fill = sheet.linear(
    [0, mix(colors.low, colors.water, 0.4)],
    [0.3, colors.water],
    [1, mix(colors.water, colors.near, 0.7)],
  );
  sheet.add(`<rect y="${n(horizon)}" width="${width}" height="${n(height - horizon)}" fill="${fill}"/>`);
  let near = '';
  let far = '';
  for (let stroke = 0; stroke < 90; stroke += 1) {
    const depth = random() ** 1.6;
    const y = horizon + 5 + depth * (height - horizon);
    const x = 430 + (random() - 0.5) * (70 + depth * 380);
    const long = 10 + depth * 60 * random();
    if (stroke % 3 === 0) near += `M${n(x)} ${n(y)}h${n(long)}`;
    else far += `M${n(x)} ${n(y)}h${n(long)}`;
  }
  sheet.stroke(far, colors.light, 2, 0.35);
  sheet.stroke(near, colors.light, 3, 0.5);
}

function paintHeadland(sheet: Sheet, colors: Palette): void {
  const { random } = sheet;
  const edge: Point[] = [
    [770, 600],
    [812, 578],
    [850, 560],
    [878, 520],
    [922, 505],
    [940, 462],
    [985, 446],
    [1010, 418],
    [1080, 410],
    [1190, 414],
    [1255, 392],
    [1330, 372],
    [1410, 340],
    [1480, 318],
    [1540, 300],
  ];
  const top = edge.map(([x, y]): Point => [x + (random() - 0.5) * 14, y + (random() - 0.5) * 8]);
  const dark = colors.at(0.72);
  sheet.path(
    shape([...top, [1540, 680], [760, 640]]),
    sheet.linear([0, mix(dark, colors.low, 0.22)], [0.5, dark], [1, mix(dark, colors.near, 0.5)]),
  );
  let cracks = '';
  for (let crack = 0; crack < 30; crack += 1) {
    const x = 880 + random() * 650;
    cracks += `M${n(x)} ${n(430 + random() * 150 - (x - 880) * 0.06)}l${n(-8 - random() * 26)} ${n(30 + random() * 55)}l${n(random() * 20)} ${n(20)}`;
  }
  sheet.stroke(cracks, mix(dark, colors.near, 0.6), 3, 0.6);
  sheet.stroke(`M${top.map(([x, y]) => `${n(x)} ${n(y)}`).join('L')}`, mix(dark, colors.low, 0.55), 3, 0.7);
  sheet.add(
    `<ellipse cx="1130" cy="640" rx="420" ry="16" fill="${mix(colors.low, '#ffffff', 0.5)}" opacity=".35" filter="${sheet.blur(7)}"/>`,
  );
}

/** Dark rocks in the lower corners: they make the rest look far. */
function paintRocks(sheet: Sheet, colors: Palette): void {
  const { random } = sheet;
  const dark = mix(colors.near, '#000000', 0.3);
  const rock = (x: number, y: number, w: number, h: number): void => {
    const points: Point[] = [[x, height]];
    for (let step = 0; step <= 8; step += 1)
      points.push([x + (w * step) / 8, y - Math.sin((step / 8) * 3.14) ** 0.7 * h + (random() - 0.5) * h * 0.3]);
    sheet.path(shape([...points, [x + w, height]]), sheet.linear([0, mix(dark, colors.low, 0.2)], [0.4, dark]));
  };
  rock(-80, 920, 330, 90);
  rock(1060, 930, 560, 60);
  rock(1240, 970, 420, 120);
}

/** A lake or a river between low banks. */
export function paintWaterside(sheet: Sheet, scene: Scene, colors: Palette): Ground {
  const { random } = sheet;
  const horizon = scene.place === 'lake' ? horizons.lake : horizons.river;
  for (const [row, size] of [120, 90, 50].entries()) {
    const line = row < 2 ? peaks(random, horizon - 100 + row * 45, size * 1.6) : hills(random, horizon - 28, 14);
    const color = colors.at(0.12 + row * 0.17);
    sheet.path(land(line, row === 2), sheet.linear([0, color], [1, mix(color, colors.low, 0.5)]));
    paintMist(sheet, colors, horizon - 20 + row * 8, 0.3);
  }
  sheet.path(firs(random, 60, horizon + 4, 46, 0, width), colors.at(0.55));
  if (scene.place === 'lake') paintWater(sheet, colors, horizon);
  else paintRiver(sheet, colors, horizon);
  const shore = hills(random, 850, 18).map((y, index) => y + Math.max(0, 12 - index) * 4 - Math.max(0, index - 13) * 9);
  sheet.path(land(shore, true), sheet.linear([0, mix(colors.near, colors.low, 0.16)], [0.5, colors.near]));
  sheet.stroke(reeds(random, 0, width, 880, 70, 60), mix(colors.near, '#000000', 0.25), 3, 0.95);
  sheet.path(firs(random, 4, 900, 430, 1180, 1560), mix(colors.near, '#000000', 0.2));
  return {
    main: { x: 1010, y: horizon + 12, scale: 0.9, distance: 0.7 },
    front: { x: 1080, y: 846, scale: 0.95 },
    water: { x: 520, y: 720 },
  };
}

/** A river comes out of the distance in one bend; its banks are the meadow. */
function paintRiver(sheet: Sheet, colors: Palette, horizon: number): void {
  const meadow = colors.at(0.62);
  sheet.add(
    `<rect y="${horizon}" width="${width}" height="${height - horizon}" fill="${sheet.linear([0, mix(meadow, colors.low, 0.35)], [1, colors.near])}"/>`,
  );
  const d = `M760 ${horizon}C900 ${horizon + 40} 1060 ${horizon + 60} 820 ${horizon + 110}C480 ${horizon + 180} 160 ${horizon + 240} 40 960L1040 960C960 ${horizon + 300} 820 ${horizon + 230} 1040 ${horizon + 130}C1180 ${horizon + 60} 900 ${horizon + 30} 790 ${horizon}Z`;
  sheet.path(
    d,
    sheet.linear(
      [0, mix(colors.low, colors.light, 0.25)],
      [0.4, mix(colors.low, colors.water, 0.55)],
      [1, colors.water],
    ),
  );
  sheet.stroke(`M500 800h120M430 850h220M620 760h70M700 700h90M540 890h260`, colors.light, 2.5, 0.35);
}
