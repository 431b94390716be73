import type { Scene } from './scene.ts';
import { crest, firs, horizons, reeds } from './svg-ground.ts';
import type { Ground } from './svg-ground.ts';
import { height, hills, land, mix, n, peaks, width } from './svg-paint.ts';
import type { Sheet } from './svg-paint.ts';
import type { Palette } from './svg-palette.ts';
import { paintMist } from './svg-sky.ts';
import { paintSea, paintWaterside } from './svg-water.ts';

/** Paints the land of an open place, far to near, and says where things can stand. */
export function paintLand(sheet: Sheet, scene: Scene, colors: Palette): Ground {
  switch (scene.place) {
    case 'sea':
      return paintSea(sheet, scene.weather, colors);
    case 'lake':
    case 'river':
      return paintWaterside(sheet, scene, colors);
    case 'city':
      return paintCity(sheet, scene, colors);
    case 'forest':
      return paintForest(sheet, scene, colors);
    case 'mountain':
      return paintMountains(sheet, scene, colors);
    case 'space':
      return paintSpace(sheet, colors);
    case 'desert':
      return paintDunes(sheet, colors);
    case 'field':
    case 'village':
    case 'cave':
    case 'tavern':
    case 'library':
    case 'room':
      return paintFields(sheet, scene, colors);
  }
}

function paintMountains(sheet: Sheet, scene: Scene, colors: Palette): Ground {
  const { random } = sheet;
  const rows = [
    [400, 330],
    [480, 270],
    [570, 200],
    [670, 130],
  ] as const;
  for (const [row, [y, size]] of rows.entries()) {
    const line = peaks(random, y, size);
    const color = colors.at(0.06 + row * 0.21);
    sheet.path(land(line, false), sheet.linear([0, color], [0.7, mix(color, colors.low, 0.4)]));
    const capped = row < 2 || scene.weather === 'snow';
    if (capped) sheet.stroke(crest(line), mix(colors.light, color, 0.25), 5 - row, 0.55);
    paintMist(sheet, colors, y + 110, 0.34);
  }
  sheet.path(firs(random, 46, 800, 90, 0, width), colors.at(0.82));
  sheet.path(land(hills(random, 800, 26), true), sheet.linear([0, colors.at(0.88)], [0.5, colors.near]));
  sheet.path(firs(random, 5, 940, 330, -40, 330), mix(colors.near, '#000000', 0.25));
  return { main: { x: 1060, y: 770, scale: 1.2, distance: 0.85 }, front: { x: 640, y: 856, scale: 1 }, water: null };
}

function paintForest(sheet: Sheet, scene: Scene, colors: Palette): Ground {
  const { random } = sheet;
  if (scene.weather !== 'storm' && scene.weather !== 'rain') sheet.glow(620, 560, 620, colors.light, 0.4, 420);
  for (let row = 0; row < 4; row += 1) {
    const y = 640 + row * 58;
    const color = colors.at(0.12 + row * 0.2);
    sheet.path(firs(random, 26 - row * 5, y, 330 + row * 90, -60, width + 60), color);
    sheet.path(land(hills(random, y, 12), true), sheet.linear([0, color], [1, mix(color, colors.near, 0.4)]));
    paintMist(sheet, colors, y - 10, 0.38 - row * 0.06);
  }
  const ground = hills(random, 838, 14);
  sheet.path(land(ground, true), sheet.linear([0, colors.at(0.85)], [0.6, mix(colors.near, '#000000', 0.3)]));
  sheet.path(
    `M700 828C640 850 760 880 560 ${height}H1010C880 880 760 850 770 828Z`,
    mix(colors.at(0.6), colors.low, 0.2),
    'opacity=".55"',
  );
  const dark = mix(colors.near, '#000000', 0.45);
  for (const [x, w] of [
    [-30, 120],
    [190, 58],
    [1370, 90],
    [1480, 120],
  ] as const) {
    const lean = (random() - 0.5) * 50;
    sheet.path(
      `M${x} ${height}C${x + w * 0.2} 700 ${n(x + lean)} 300 ${n(x + lean + w * 0.15)} -20H${n(x + lean + w * 0.75)}C${n(x + lean + w)} 300 ${n(x + w * 0.8)} 700 ${n(x + w * 1.15)} ${height}Z`,
      sheet.across([0, dark], [0.7, mix(dark, colors.low, 0.12)], [1, dark]),
    );
    sheet.stroke(
      `M${n(x + w * 0.5 + lean * 0.6)} ${n(300 + random() * 160)}q${n(60 - random() * 120)} -60 ${n((x < 700 ? 1 : -1) * (90 + random() * 70))} -110`,
      dark,
      w * 0.14,
      1,
    );
  }
  sheet.stroke(reeds(random, 0, width, 930, 90, 70), dark, 4, 1);
  return {
    main: { x: 1000, y: 826, scale: 1.05, distance: 0.85 },
    front: { x: 690, y: 868, scale: 0.95 },
    water: null,
  };
}

function paintFields(sheet: Sheet, scene: Scene, colors: Palette): Ground {
  const { random } = sheet;
  const horizon = horizons.field;
  for (let row = 0; row < 5; row += 1) {
    const y = horizon - 40 + row * 62 + row * row * 6;
    const color = colors.at(0.14 + row * 0.19);
    const line = hills(random, y, 34 - row * 3);
    if (row === 1 || row === 2)
      sheet.path(
        firs(random, 14, y + 16, 46 + row * 22, random() * 500, 700 + random() * 700),
        colors.at(0.24 + row * 0.19),
      );
    sheet.path(
      land(line, true),
      sheet.linear([0, mix(color, colors.light, 0.12)], [0.35, color], [1, mix(color, colors.near, 0.3)]),
    );
    if (row < 3) paintMist(sheet, colors, y + 40, 0.22);
  }
  if (scene.place === 'village') paintPath(sheet, colors);
  sheet.stroke(reeds(random, -20, width, 930, 110, 150), mix(colors.near, '#000000', 0.25), 3, 0.9);
  sheet.stroke(reeds(random, -20, width, 950, 100, 50), mix(colors.near, colors.light, 0.3), 2, 0.55);
  return { main: { x: 1050, y: 742, scale: 1.3, distance: 0.82 }, front: { x: 640, y: 880, scale: 1 }, water: null };
}

function paintPath(sheet: Sheet, colors: Palette): void {
  sheet.path(
    `M860 700C760 730 900 770 760 820C640 860 560 900 500 ${height}H860C820 900 860 850 900 820C980 770 840 740 880 700Z`,
    mix(colors.at(0.6), colors.light, 0.25),
    'opacity=".5"',
  );
}

function paintDunes(sheet: Sheet, colors: Palette): Ground {
  const { random } = sheet;
  for (let row = 0; row < 5; row += 1) {
    const y = 540 + row * 70 + row * row * 4;
    const line = hills(random, y, 46, 14);
    const color = colors.at(0.12 + row * 0.17);
    const lit = mix(color, colors.light, 0.3);
    sheet.path(
      land(line, true),
      sheet.across([0, lit], [0.3 + random() * 0.3, color], [1, mix(color, colors.near, 0.35)]),
    );
    sheet.stroke(crest(line), lit, 2, 0.5);
  }
  return { main: { x: 1070, y: 700, scale: 1.1, distance: 0.7 }, front: { x: 660, y: 850, scale: 1 }, water: null };
}

function paintCity(sheet: Sheet, scene: Scene, colors: Palette): Ground {
  const { random } = sheet;
  const dim = scene.time === 'day' ? 0.16 : 0.9;
  for (let row = 0; row < 4; row += 1) {
    const color = colors.at(0.16 + row * 0.23);
    let d = '';
    let lights = '';
    for (let x = -30; x < width;) {
      const wide = 56 + random() * (46 + row * 34);
      // The middle stays low: there the street opens to the sky.
      const middle = 1 - Math.exp(-(((x + wide / 2 - 700) / 380) ** 2)) * (0.4 + row * 0.16);
      const top = 690 - (150 + random() * 270) * middle - row * 8;
      d += `M${n(x)} ${height}V${n(top)}${random() < 0.3 ? `l${n(wide / 2)} -38l${n(wide / 2)} 38` : `h${n(wide * 0.3)}v-${n(random() * 30)}h${n(wide * 0.25)}V${n(top)}H${n(x + wide)}`}V${height}Z`;
      for (let column = x + 14; column < x + wide - 10; column += 22)
        lights += `M${n(column)} ${n(top + 24 + Math.floor(random() * 5) * 24)}V${n(top + 80 + random() * 220)}`;
      x += wide + random() * 10;
    }
    sheet.path(d, sheet.linear([0, color], [1, mix(color, colors.low, 0.3 - row * 0.05)]));
    sheet.add(
      `<path d="${lights}" stroke="${colors.warm}" stroke-width="${5 + row}" stroke-dasharray="8 16 8 40 8 ${60 - row * 8}" opacity="${n(dim * (0.3 + row * 0.2))}"/>`,
    );
    paintMist(sheet, colors, 690, 0.3 - row * 0.06);
  }
  const street = colors.near;
  sheet.path(
    `M640 690H780L1240 ${height}H180Z`,
    sheet.linear([0, mix(colors.low, street, 0.3)], [0.4, mix(street, colors.low, 0.22)], [1, street]),
  );
  if (scene.time !== 'day')
    for (const [x, y, size] of [
      [560, 760, 60],
      [880, 780, 70],
      [430, 880, 100],
      [1010, 880, 110],
    ] as const)
      sheet.glow(x, y, size, colors.warm, 0.55, size * 0.5);
  sheet.stroke('M700 720v24M694 775v34M684 845v50', colors.light, 5, 0.35);
  return { main: { x: 1080, y: 792, scale: 1.1, distance: 0.9 }, front: { x: 690, y: 850, scale: 1 }, water: null };
}

function paintSpace(sheet: Sheet, colors: Palette): Ground {
  const { random } = sheet;
  for (const [x, y, size, color] of [
    [1120, 260, 620, '#5a3fb0'],
    [500, 420, 560, '#1f6fa8'],
    [880, 120, 420, '#b0447e'],
  ] as const)
    sheet.glow(x + random() * 80, y, size, color, 0.4, size * 0.5);
  const globe = sheet.radial(
    [0, mix(colors.low, '#ffd9a0', 0.3)],
    [0.7, mix(colors.mid, '#c0705a', 0.4)],
    [1, '#0a0c1c'],
  );
  sheet.add(
    `<g transform="rotate(-18 1060 330)"><ellipse cx="1060" cy="330" rx="300" ry="52" fill="none" stroke="#d9c3a3" stroke-width="14" opacity=".35"/><circle cx="1060" cy="330" r="165" fill="${globe}"/><path d="M760 330A300 52 0 0 0 1360 330" fill="none" stroke="#e8d7b8" stroke-width="16" opacity=".75"/><path d="M790 332A270 44 0 0 0 1330 332" fill="none" stroke="#a98b74" stroke-width="6" opacity=".7"/></g>`,
  );
  sheet.add(
    `<ellipse cx="700" cy="1500" rx="1500" ry="720" fill="${sheet.linear([0, '#6fb4e8'], [0.06, '#1d4a7c'], [0.4, '#071426'])}"/>`,
  );
  sheet.stroke('M-100 880A1500 720 0 0 1 1636 915', '#bfe3ff', 5, 0.6, `filter="${sheet.blur(5)}"`);
  sheet.path(land(peaks(random, 905, 60), false), mix(colors.near, '#000000', 0.5));
  return { main: { x: 1000, y: 890, scale: 1, distance: 0.95 }, front: { x: 560, y: 905, scale: 1 }, water: null };
}
