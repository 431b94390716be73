import { interiors } from './lexicon.ts';
import type { Thing } from './lexicon.ts';
import type { Scene } from './scene.ts';
import { paintInterior } from './svg-interior.ts';
import { horizons } from './svg-ground.ts';
import type { Ground } from './svg-ground.ts';
import { paintLand } from './svg-land.ts';
import { mix } from './svg-paint.ts';
import type { Sheet } from './svg-paint.ts';
import { paletteOf } from './svg-palette.ts';
import type { Palette } from './svg-palette.ts';
import { placeProp } from './svg-props.ts';
import type { Paint } from './svg-props.ts';
import { paintBirds, paintFinish, paintLightning, paintMist, paintSky, paintWeather } from './svg-sky.ts';

/** Things that stand where people are; all others stand where buildings are, boats on the water. */
const carried: readonly Thing[] = ['figure', 'campfire', 'lantern'];
const afloat: readonly Thing[] = ['boat', 'ship'];
/** Things that lie on a table, or hang on a wall. */
const indoors: readonly Thing[] = ['candle', 'book', 'table'];
const warmThings: readonly Thing[] = ['campfire', 'lantern', 'candle'];

/** The layers of a sketch, far to near: each call paints one. */
export function layersOf(sheet: Sheet, scene: Scene): (() => void)[] {
  const colors = paletteOf(scene);
  const horizon = horizons[scene.place];
  const inside = interiors.includes(scene.place);
  let ground: Ground = { main: { x: 0, y: 0, scale: 1, distance: 1 }, front: { x: 0, y: 0, scale: 1 }, water: null };
  return [
    () => {
      if (!inside) paintSky(sheet, scene, colors, horizon);
    },
    () => {
      if (!inside && scene.weather === 'storm') paintLightning(sheet, horizon);
      if (!inside && scene.weather === 'fog') paintMist(sheet, colors, horizon - 60, 0.5);
    },
    () => {
      ground = inside ? paintInterior(sheet, scene, colors) : paintLand(sheet, scene, colors);
    },
    () => paintThings(sheet, scene, colors, ground),
    () => paintAccent(sheet, colors, ground, inside),
    () => {
      if (!inside && scene.place !== 'space') paintWeather(sheet, scene, colors);
    },
    () => paintFinish(sheet, inside || scene.time === 'night' ? 0.42 : scene.time === 'day' ? 0.16 : 0.3),
  ];
}

function paintThings(sheet: Sheet, scene: Scene, colors: Palette, ground: Ground): void {
  let standing = 0;
  let held = 0;
  if (scene.things.some(({ thing }) => thing === 'candle' || thing === 'book'))
    placeInside(sheet, 'table', scene, colors, ground, 0);
  for (const { thing, look } of scene.things) {
    const paint = paintOf(scene, colors, look, ground.main.distance);
    const front = { ...paint, dark: mix(colors.near, '#000000', 0.35) };
    if (thing === 'bird') paintBirds(sheet, front.dark, horizons[scene.place]);
    else if (afloat.includes(thing)) placeAfloat(sheet, thing, front, ground);
    else if (indoors.includes(thing)) placeInside(sheet, thing, scene, colors, ground, 1);
    else if (carried.includes(thing)) {
      const x = ground.front.x + ([0, 120, -110][held % 3] ?? 0) * ground.front.scale;
      if (warmThings.includes(thing))
        sheet.glow(x, ground.front.y - 60, 300 * ground.front.scale, '#ff9d45', scene.time === 'day' ? 0.3 : 0.75);
      placeProp(sheet, thing, { x, y: ground.front.y, scale: ground.front.scale }, front);
      held += 1;
    } else {
      const { x, y, scale } = ground.main;
      const lamp = !paint.unlit && scene.time !== 'day';
      const spot = {
        x: x + ([0, 250, -330][standing % 3] ?? 0),
        y: y + (standing % 3) * 8,
        scale: scale * (standing === 0 ? 1 : 0.7),
      };
      if (lamp && thing !== 'tree') sheet.glow(spot.x, spot.y - 100 * spot.scale, 250 * spot.scale, colors.warm, 0.4);
      placeProp(sheet, thing, spot, paint);
      if (thing === 'lighthouse' && lamp) paintBeam(sheet, spot.x, spot.y - 242 * spot.scale, colors);
      standing += 1;
    }
  }
}

function paintOf(scene: Scene, colors: Palette, look: string, distance: number): Paint {
  const dark = colors.at(distance);
  const unlit = ['dark', 'abandoned', 'broken', 'ruined', 'empty', 'collapsed', 'overgrown'].includes(look);
  const tint = {
    red: '#a8322c',
    white: '#e6ebee',
    golden: '#c99a3c',
    silver: '#b8c6d2',
    rusty: '#8a4a2c',
    black: '#0a0a10',
  }[look];
  const side = mix(dark, colors.low, scene.weather === 'snow' ? 0.5 : 0.36);
  return { dark, lit: tint === undefined ? side : mix(side, tint, 0.45), warm: colors.warm, time: scene.time, unlit };
}

function placeAfloat(sheet: Sheet, thing: Thing, paint: Paint, ground: Ground): void {
  // Without water it lies on the shore.
  const spot = ground.water ?? { x: ground.front.x - 240, y: ground.front.y };
  const scale = thing === 'ship' ? 1.05 : 1.15;
  placeProp(
    sheet,
    thing,
    { x: spot.x, y: spot.y, scale, turn: -4 },
    { ...paint, lit: mix(paint.lit, '#ffffff', 0.15) },
  );
}

function placeInside(sheet: Sheet, thing: Thing, scene: Scene, colors: Palette, ground: Ground, step: number): void {
  const paint: Paint = { dark: '#1a0f0a', lit: '#6b4428', warm: colors.warm, time: scene.time, unlit: false };
  const table = { x: ground.main.x, y: ground.main.y, scale: ground.main.scale };
  if (thing === 'table') {
    if (step === 0 || !scene.things.some((other) => other.thing === 'candle' || other.thing === 'book'))
      placeProp(sheet, thing, table, paint);
    return;
  }
  const x = table.x + (thing === 'candle' ? -90 : 50) * table.scale;
  const y = table.y - 76 * table.scale;
  placeProp(sheet, thing, { x, y, scale: 1.1 }, paint);
  if (thing === 'candle') sheet.glow(x, y - 66, 330, '#ffc060', 0.85);
}

/** Two fans of light from the lamp of a lighthouse. */
function paintBeam(sheet: Sheet, x: number, y: number, colors: Palette): void {
  const fill = sheet.across([0, colors.warm, 0], [1, '#fff3d0', 0.6]);
  sheet.path(`M${x} ${y - 7}L${x - 940} ${y - 150}V${y + 30}L${x} ${y + 7}Z`, fill, 'style="mix-blend-mode:screen"');
  sheet.path(
    `M${x} ${y - 6}L${x + 460} ${y + 20}V${y + 110}L${x} ${y + 6}Z`,
    sheet.across([0, '#fff3d0', 0.5], [1, colors.warm, 0]),
    'style="mix-blend-mode:screen"',
  );
  sheet.glow(x, y, 150, '#fff3d0', 0.95);
}

/** The strange light of a story: in the water where there is some, else low among the things. */
function paintAccent(sheet: Sheet, colors: Palette, ground: Ground, inside: boolean): void {
  if (colors.accent === null) return;
  const x = ground.water === null ? ground.front.x + (inside ? 420 : 190) : ground.water.x + 170;
  const y = ground.water === null ? ground.front.y - 46 : ground.water.y + 52;
  const flat = ground.water === null ? 1 : 0.42;
  sheet.glow(x, y, 430, colors.accent, 0.6, 430 * flat);
  sheet.glow(x, y, 150, colors.accent, 0.95, 150 * flat);
  sheet.glow(x, y, 46, '#ffffff', 0.9, 46 * flat);
}
