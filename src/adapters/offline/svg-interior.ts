import type { Scene } from './scene.ts';
import type { Ground } from './svg-ground.ts';
import { height, mix, n, shape, width } from './svg-paint.ts';
import type { Point, Sheet } from './svg-paint.ts';
import type { Palette } from './svg-palette.ts';

/** Paints the inside of a place: a cave, or a room with a window to the weather. */
export function paintInterior(sheet: Sheet, scene: Scene, colors: Palette): Ground {
  if (scene.place === 'cave') return paintCave(sheet, colors);
  const wall = { tavern: '#4a2c1a', library: '#3f2a1c', room: '#5a4636' }[
    scene.place === 'tavern' || scene.place === 'library' ? scene.place : 'room'
  ];
  const day = scene.time === 'day';
  const lit = mix(wall, colors.light, day ? 0.22 : 0.04);
  sheet.add(
    `<rect width="${width}" height="${height}" fill="${sheet.linear([0, mix(lit, '#000000', 0.55)], [0.6, lit], [1, mix(lit, '#000000', 0.3)])}"/>`,
  );
  paintFloor(sheet, lit);
  paintWindow(sheet, scene, colors, mix(wall, '#000000', 0.55));
  if (scene.place === 'library') paintShelves(sheet, wall);
  else paintHearth(sheet, wall, colors);
  if (scene.place === 'tavern') paintBottles(sheet, wall);
  paintBeams(sheet, wall, scene.place === 'tavern');
  return {
    main: { x: 780, y: 850, scale: 1.15, distance: 1 },
    front: { x: 560, y: 900, scale: 1.9 },
    water: null,
  };
}

const floorY = 690;

function paintFloor(sheet: Sheet, wall: string): void {
  const board = mix(wall, '#1a0e08', 0.35);
  sheet.add(
    `<rect y="${floorY}" width="${width}" height="${height - floorY}" fill="${sheet.linear([0, mix(board, '#000000', 0.35)], [1, board])}"/>`,
  );
  let gaps = '';
  for (let x = -900; x <= width + 900; x += 130) gaps += `M${n(768 + (x - 768) * 0.5)} ${floorY}L${x} ${height}`;
  sheet.stroke(gaps, mix(board, '#000000', 0.6), 3, 0.7);
  sheet.stroke(`M0 ${floorY}H${width}`, mix(wall, '#000000', 0.6), 12, 0.9);
}

function paintWindow(sheet: Sheet, scene: Scene, colors: Palette, frame: string): void {
  const { random } = sheet;
  const d = 'M250 560V260a130 130 0 0 1 260 0V560Z';
  const sky = sheet.linear([0, colors.top], [0.6, colors.mid], [1, colors.low]);
  let outside = `<path d="${d}" fill="${sky}"/>`;
  if (scene.weather === 'clear' || scene.weather === 'cloudy')
    outside += `<circle cx="420" cy="260" r="30" fill="${colors.light}" opacity=".9"/>`;
  outside += `<path d="M230 520Q310 450 380 490T530 460V580H230Z" fill="${colors.at(0.4)}"/><path d="M230 545Q320 500 400 530T530 520V580H230Z" fill="${colors.at(0.75)}"/>`;
  let falling = '';
  const wet = scene.weather === 'rain' || scene.weather === 'storm';
  const drops = wet || scene.weather === 'snow' ? 60 : 0;
  for (let drop = 0; drop < drops; drop += 1)
    falling += `M${n(250 + random() * 260)} ${n(130 + random() * 430)}${wet ? 'l-6 22' : 'h.1'}`;
  outside += `<path d="${falling || 'M0 0'}" stroke="#ffffff" stroke-width="${wet ? 1.4 : 5}" stroke-linecap="round" opacity=".6"/>`;
  sheet.add(`<g clip-path="${sheet.clip(d)}">${outside}</g>`);
  sheet.stroke(d, frame, 22, 1);
  sheet.stroke('M380 130V560M250 300H510M250 430H510', frame, 9, 1);
  sheet.path('M220 560H540V588H220Z', frame);
  sheet.glow(380, 340, 420, colors.low, scene.time === 'night' ? 0.22 : 0.5);
  sheet.path(
    `M300 ${floorY}H470L760 ${height}H420Z`,
    colors.low,
    `opacity="${scene.time === 'night' ? 0.1 : 0.22}" filter="${sheet.blur(14)}"`,
  );
}

function paintHearth(sheet: Sheet, wall: string, colors: Palette): void {
  const { random } = sheet;
  const stone = mix(wall, '#55504d', 0.5);
  sheet.path(
    shape([
      [1030, 700],
      [1050, 150],
      [1380, 150],
      [1400, 700],
    ]),
    sheet.linear([0, mix(stone, '#000000', 0.55)], [1, stone]),
  );
  let blocks = '';
  for (let row = 0; row < 9; row += 1)
    for (let column = 0; column < 5; column += 1)
      blocks += `M${n(1048 + column * 72 + (row % 2) * 30)} ${n(172 + row * 58)}h${n(44 + random() * 16)}v44h-50`;
  sheet.stroke(blocks, mix(stone, '#000000', 0.5), 3, 0.45);
  sheet.path('M1100 700V520a115 100 0 0 1 230 0V700Z', '#0c0604');
  sheet.path('M1010 400H1420V436H1010Z', mix(wall, '#000000', 0.45));
  sheet.path(
    'M1128 692Q1110 620 1160 590Q1150 540 1192 500Q1196 556 1222 570Q1244 548 1240 524Q1290 580 1280 640Q1300 650 1298 692Z',
    '#e8641e',
    `filter="${sheet.blur(3)}"`,
  );
  sheet.path('M1152 692Q1148 640 1186 614Q1184 580 1204 560Q1210 604 1234 618Q1262 640 1266 692Z', '#ffb347');
  sheet.path('M1182 692Q1186 650 1210 632Q1238 660 1234 692Z', '#fff0b8');
  sheet.stroke('M1120 696L1290 676M1120 676L1300 700', '#1c0d06', 18, 1);
  sheet.glow(1214, 620, 620, '#ff9a45', 0.75, 460);
  sheet.path(`M1090 ${floorY}H1340L1500 ${height}H900Z`, '#ff9a45', `opacity=".22" filter="${sheet.blur(20)}"`);
  for (const x of [1068, 1130, 1320, 1372]) {
    const tall = 26 + random() * 40;
    sheet.path(`M${x} 400v-${n(tall)}h26v${n(tall)}Z`, mix(colors.warm, wall, 0.3 + random() * 0.5));
  }
}

function paintShelves(sheet: Sheet, wall: string): void {
  const { random } = sheet;
  const covers = ['#7c2f2a', '#2f4f5f', '#4f5a2f', '#8a6a34', '#3d2f55', '#5a3a24'].map((color) =>
    mix(color, wall, 0.25),
  );
  const spines = covers.map(() => '');
  const fronts: readonly (readonly [from: number, to: number])[] = [
    [0, 190],
    [590, 940],
    [960, 1310],
    [1330, width],
  ];
  for (const [from, to] of fronts) {
    sheet.path(
      shape([
        [from, 90],
        [to, 90],
        [to, 700],
        [from, 700],
      ]),
      mix(wall, '#000000', 0.6),
    );
    for (let y = 205; y <= 690; y += 97) {
      for (let x = from + 10; x < to - 22;) {
        const thick = 9 + random() * 15;
        const tall = 52 + random() * 30;
        const color = Math.floor(random() * covers.length);
        if (random() > 0.1) spines[color] += `M${n(x)} ${y}v${n(-tall)}h${n(thick)}V${y}Z`;
        x += thick + 2;
      }
      sheet.path(`M${from} ${y}H${to}v14H${from}Z`, mix(wall, '#000000', 0.25));
    }
  }
  for (const [index, d] of spines.entries()) sheet.path(d, covers[index] ?? wall);
  sheet.stroke(
    'M1010 705L1090 90M1070 705L1150 90M1022 610h62M1036 500h62M1050 392h62M1064 284h62M1078 176h62',
    mix(wall, '#d0955a', 0.35),
    9,
    1,
  );
  sheet.glow(800, 560, 640, '#ffb765', 0.6, 460);
}

function paintBottles(sheet: Sheet, wall: string): void {
  const { random } = sheet;
  for (const y of [330, 450, 570]) {
    sheet.path(`M620 ${y}H960v14H620Z`, mix(wall, '#000000', 0.5));
    for (let x = 636; x < 940; x += 30) {
      const color = mix(['#2f5a3c', '#6a3a1c', '#7d6a2c', '#35506a'][Math.floor(random() * 4)] ?? wall, wall, 0.2);
      const tall = 34 + random() * 24;
      sheet.path(`M${x} ${y}v${n(-tall)}l6 -12v-18h8v18l6 12V${y}Z`, color);
    }
  }
  sheet.path('M20 930Q0 830 40 760H190Q230 830 210 930Z', mix(wall, '#8a5a30', 0.3));
  sheet.stroke(
    'M28 800H204M18 860H214M70 762Q56 850 74 928M160 762Q174 850 156 928',
    mix(wall, '#000000', 0.6),
    7,
    0.8,
  );
}

function paintBeams(sheet: Sheet, wall: string, lamps: boolean): void {
  const beam = mix(wall, '#000000', 0.62);
  sheet.path(`M0 0H${width}V70H0Z`, beam);
  for (const [from, to] of [
    [60, 330],
    [560, 650],
    [880, 980],
    [1200, 1480],
  ] as const)
    sheet.path(
      `M${from} 0H${from + 90}L${to > 768 ? to - 60 : to + 60} 108H${to - (to > 768 ? 130 : 10)}Z`,
      mix(beam, '#000000', 0.25),
    );
  sheet.path(`M0 70H${width}V104H0Z`, mix(wall, '#000000', 0.4));
  if (!lamps) return;
  for (const [x, y] of [
    [700, 220],
    [930, 180],
  ] as const) {
    sheet.stroke(`M${x} 100V${y}`, beam, 4, 1);
    sheet.path(`M${x - 18} ${y}h36l8 44h-52Z`, '#ffd98a');
    sheet.glow(x, y + 24, 230, '#ffbe6a', 0.7);
  }
}

/** Rings of rock, darker towards the eye, around an opening full of sky; a pool in the middle. */
function paintCave(sheet: Sheet, colors: Palette): Ground {
  const { random } = sheet;
  const sky = sheet.linear([0, colors.mid], [0.7, mix(colors.low, colors.light, 0.3)], [1, colors.low]);
  sheet.add(`<rect width="${width}" height="${height}" fill="${sky}"/>`);
  sheet.glow(700, 470, 420, colors.light, 0.55);
  sheet.path(`M300 560Q500 500 640 540T1100 530V700H300Z`, colors.at(0.35));
  for (let ring = 0; ring < 5; ring += 1) {
    const open: Point[] = [];
    const reach = 190 + ring * 118;
    for (let step = 0; step < 44; step += 1) {
      const turn = (step / 44) * 6.283;
      // Above, the rock hangs in teeth; below it lies flat.
      const tooth = Math.sin(turn) < -0.2 && step % 3 === 0 ? -0.24 * random() : 0;
      const far = reach * (0.9 + random() * 0.2 + tooth);
      open.push([700 + Math.cos(turn) * far * 1.3, 490 + Math.sin(turn) * far * (Math.sin(turn) > 0 ? 0.6 : 0.86)]);
    }
    const rock = mix(mix(colors.mid, '#3a3040', 0.55), '#07060b', 0.15 + ring * 0.19);
    sheet.path(`M-60-60H1600V1020H-60Z${shape(open)}`, rock, 'fill-rule="evenodd"');
    sheet.stroke(shape(open), mix(rock, colors.low, 0.45 - ring * 0.08), 3, 0.5);
  }
  sheet.add(
    `<ellipse cx="700" cy="800" rx="420" ry="62" fill="${sheet.linear([0, mix(colors.low, colors.water, 0.4)], [1, mix(colors.water, '#000000', 0.5)])}" opacity=".85"/>`,
  );
  sheet.stroke('M560 780h180M620 800h220M520 822h130M720 836h90', colors.light, 2.5, 0.4);
  return {
    main: { x: 1060, y: 880, scale: 1, distance: 1 },
    front: { x: 420, y: 880, scale: 1.5 },
    water: { x: 760, y: 790 },
  };
}
