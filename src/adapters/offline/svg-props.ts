import type { Thing, Time } from './lexicon.ts';
import { mix, n } from './svg-paint.ts';
import type { Sheet } from './svg-paint.ts';

/** What a prop is painted with. */
export interface Paint {
  /** The side in shade, the side in light, and a lamp inside. */
  dark: string;
  lit: string;
  warm: string;
  time: Time;
  /** Nobody is at home: abandoned, dark, ruined. */
  unlit: boolean;
}

/** Paints the inside of a prop: in its own units, its foot at 0 0, up is negative. */
type Prop = (paint: Paint) => string;

const path = (d: string, fill: string, extra = ''): string => `<path d="${d}" fill="${fill}"${extra}/>`;
const line = (d: string, color: string, thickness: number): string =>
  `<path d="${d}" fill="none" stroke="${color}" stroke-width="${thickness}" stroke-linecap="round" stroke-linejoin="round"/>`;

/** A lit window by night is warm; by day, or with nobody at home, it is a hole. */
function pane(paint: Paint): string {
  return paint.unlit || paint.time === 'day' ? mix(paint.dark, '#000000', 0.45) : paint.warm;
}

const props: { [thing in Thing]: Prop } = {
  lighthouse: (p) =>
    path('M-44 6L-29-210H29L44 6Z', p.lit) +
    path('M4 6L6-210H29L44 6Z', p.dark, ' opacity=".75"') +
    path('M-40-40L-37-86H37L40-40ZM-34-128L-31-172H31L34-128Z', mix(p.dark, '#7c2f2f', 0.35), ' opacity=".8"') +
    path('M-42-210H42V-222H-42Z', p.dark) +
    path('M-20-222H20V-262H-20Z', pane(p)) +
    line('M-38-222V-240H38V-222M-20-222V-262M0-222V-262M20-222V-262', p.dark, 4) +
    path('M-28-262H28L0-292Z', p.dark) +
    path('M-9 6V-24a9 9 0 0 1 18 0V6Z', pane(p)) +
    path('M46 6V-34L78-58L110-34V6Z', p.dark) +
    path('M66-4v-16h16v16Z', pane(p)),
  glasshouse: (p) =>
    path(
      'M-190 6V-96Q-150-190 0-226Q150-190 190-96V6Z',
      p.unlit || p.time === 'day' ? p.lit : p.warm,
      ` opacity="${p.unlit ? 0.35 : 0.6}"`,
    ) +
    path(
      'M-150 6Q-146-50-112-64Q-124-20-96 6ZM-70 6Q-66-96-34-126Q-44-50-18 6ZM30 6Q24-70 62-112Q60-40 84 6ZM104 6Q112-50 146-70Q136-20 160 6Z',
      mix(p.dark, '#12402c', 0.4),
      ' opacity=".85"',
    ) +
    line(
      'M-190 6V-96Q-150-190 0-226Q150-190 190-96V6ZM-190-96H190M-128 6V-164M-64 6V-208M0 6V-226M64 6V-208M128 6V-164M-190-44H190M-150-150Q0-190 150-150',
      p.dark,
      6,
    ) +
    path('M-24-226H24L14-254H-14Z', p.dark) +
    path('M-30 6V-70H30V6Z', p.dark) +
    path('M-22 6V-62H22V6Z', p.unlit ? p.lit : p.warm, ' opacity=".9"'),
  castle: (p) =>
    path(
      'M-210 8V-96H-190V-114H-170V-96H-150V-220H-158V-244H-140V-232H-126V-244H-112V-232H-98V-244H-82V-220H-90V-130H-64V-150H-44V-130H-30V-290L4-352L38-290V-130H64V-150H84V-130H100V-190L128-240L156-190V-84H176V-104H196V8Z',
      p.dark,
    ) +
    path('M-150-220H-128V8H-150ZM-30-290L4-352V8H-30ZM100-190L128-240V8H100Z', p.lit, ' opacity=".5"') +
    path('M-26 8V-34a28 28 0 0 1 56 0V8Z', mix(p.dark, '#000000', 0.5)) +
    path('M-8-250h12v24h-12ZM-124-190h10v20h-10ZM122-160h10v20h-10ZM-60-90h10v18h-10ZM62-90h10v18h-10Z', pane(p)) +
    line('M4-352V-400', p.dark, 4) +
    path('M4-400L48-386L4-372Z', mix(p.dark, '#8c2f2f', 0.5)),
  tower: (p) =>
    path('M-46 8L-38-230H38L46 8Z', p.dark) +
    path('M-46 8L-38-230H-14L-16 8Z', p.lit, ' opacity=".55"') +
    path('M-54-230V-262H-34V-248H-14V-262H14V-248H34V-262H54V-230Z', p.dark) +
    path('M-8-180h14v28h-14ZM-4-110h14v28h-14Z', pane(p)) +
    path('M-12 8v-34a12 12 0 0 1 24 0V8Z', mix(p.dark, '#000000', 0.5)),
  church: (p) =>
    path('M-40 8V-110L40-160L120-110V8Z', p.dark) +
    path('M-90 8V-150L-65-262L-40-150V8Z', p.dark) +
    path('M-90 8V-150L-65-262V8Z', p.lit, ' opacity=".5"') +
    line('M-65-262V-292M-75-282H-55', p.dark, 4) +
    path(
      'M-4-30v-46a10 10 0 0 1 20 0v46ZM34-30v-46a10 10 0 0 1 20 0v46ZM72-30v-46a10 10 0 0 1 20 0v46ZM-72-110v-20a7 7 0 0 1 14 0v20Z',
      pane(p),
    ),
  house: (p) =>
    path('M-92 6V-84H92V6Z', p.dark) +
    path('M-92 6V-84L-50-146L-20-84V6Z', p.lit, ' opacity=".6"') +
    path('M-110-80L-52-158H62L114-80Z', mix(p.dark, '#000000', 0.25)) +
    path('M46-176H70V-120H46Z', p.dark) +
    path('M-66-56h26v28h-26ZM24-60h28v28h-28ZM62-60h18v28h-18Z', pane(p)) +
    path('M-8 6V-46H16V6Z', mix(p.dark, '#000000', 0.45)) +
    line('M58-190q-14-22 4-40t6-44', p.lit, 6),
  windmill: (p) =>
    path('M-48 6L-26-170H26L48 6Z', p.dark) +
    path('M-48 6L-26-170H-6L-12 6Z', p.lit, ' opacity=".55"') +
    path('M-32-168Q0-214 32-168Z', p.dark) +
    path('M-6-120h14v22h-14Z', pane(p)) +
    `<g transform="translate(0 -176) rotate(24)">${[0, 90, 180, 270].map((turn) => `<g transform="rotate(${turn})">${line('M0 0V-150', p.dark, 6)}${path('M4-40H34V-148H4Z', p.lit, ' opacity=".75"')}${line('M4-40H34V-148H4M4-76H34M4-112H34M19-40V-148', p.dark, 3)}</g>`).join('')}</g>`,
  ruin: (p) =>
    path(
      'M-150 8V-120L-128-132L-116-118V8ZM-70 8V-190L-52-200L-36-184V8ZM30 8V-150L44-172L64-160V8ZM110 8V-60L128-72L146-50V8Z',
      p.dark,
    ) +
    path(
      'M-150 8V-120L-138-126V8ZM-70 8V-190L-58-197V8ZM30 8V-150L40-166V8ZM110 8V-60L122-68V8Z',
      p.lit,
      ' opacity=".6"',
    ) +
    path('M-74-186Q-10-260 66-166L64-146Q-4-226-70-164Z', p.dark) +
    path('M-190 10Q-120-30-60 4Q20-26 90 2Q150-22 200 10Z', p.dark),
  bridge: (p) =>
    path(
      'M-260 26V-20Q0-120 260-20V26H214Q200-40 140-40T66 26H46Q30-62-20-62T-86 26H-106Q-120-30-166-30T-226 26Z',
      p.dark,
    ) +
    line('M-260-34Q0-134 260-34', p.lit, 5) +
    line('M-200-30v-20M-120-56v-20M-40-72v-20M40-72v-20M120-56v-20M200-30v-20', p.dark, 6),
  boat: (p) =>
    path('M-86-22Q0 4 86-26Q72 24 36 26H-40Q-74 24-86-22Z', p.dark) +
    line('M-86-22Q0 4 86-26', p.lit, 5) +
    line('M-10-4L-78 34M16-4L88 30', mix(p.dark, p.lit, 0.35), 4) +
    path('M-70 34Q0 26 70 34Q0 50-70 34Z', p.dark, ' opacity=".5"'),
  ship: (p) =>
    path('M-150-26H-110L-104-4H96L150-34Q138 34 96 40H-96Q-136 34-150-26Z', p.dark) +
    line('M-60-4V-232M26-4V-262M98-10V-190M120-34L190-66', p.dark, 6) +
    path(
      'M-108-210Q-96-150-112-96Q-60-112-14-98Q-2-160-16-212Q-60-198-108-210ZM-26-244Q-12-180-30-120Q30-138 76-122Q88-190 74-246Q28-232-26-244ZM72-172Q84-130 72-84Q104-96 138-88Q142-130 130-176Q100-164 72-172Z',
      p.lit,
      ' opacity=".85"',
    ) +
    path('M-134-16h14v10h-14ZM-96 8h10v10h-10ZM-60 8h10v10h-10Z', pane(p)) +
    line('M-150 42Q0 56 150 40', p.lit, 4),
  tent: (p) =>
    path('M-100 6L0-116L100 6Z', p.dark) +
    path('M-100 6L0-116L-24 6Z', p.lit, ' opacity=".7"') +
    path('M-14 6L2-72L34 6Z', pane(p)) +
    line('M-8-124L8-104M8-124L-8-104M100 6L126 12M-100 6L-126 12', p.dark, 4),
  tree: (p) => {
    const crowns = [
      [0, -190, 92],
      [-70, -150, 64],
      [72, -146, 68],
      [-30, -238, 60],
      [40, -232, 56],
    ];
    return (
      line('M0 8Q-12-70 2-150M0-90Q40-120 58-150M-4-70Q-46-104-62-140', p.dark, 18) +
      crowns.map(([x = 0, y = 0, r = 0]) => `<circle cx="${x}" cy="${y}" r="${r}" fill="${p.dark}"/>`).join('') +
      crowns
        .map(
          ([x = 0, y = 0, r = 0]) =>
            `<circle cx="${x - r * 0.24}" cy="${y - r * 0.24}" r="${n(r * 0.62)}" fill="${p.lit}" opacity=".35"/>`,
        )
        .join('')
    );
  },
  figure: (p) =>
    `<circle cx="0" cy="-116" r="13" fill="${p.dark}"/>${path('M-14-104Q0-112 14-104Q28-60 30 4H-30Q-28-60-14-104Z', p.dark)}${path('M-16-118Q0-142 16-118L20-98Q0-108-20-98Z', p.dark)}${line('M-14-102Q-27-60-29 0', p.lit, 3)}${path('M-36 4Q0-2 36 4Q0 14-36 4Z', '#000000', ' opacity=".35"')}`,
  campfire: (p) =>
    line('M-38 4L34-10M38 4L-34-10M-44-2H44', p.dark, 10) +
    path('M-26-6Q-40-44-8-66Q-14-92 8-112Q6-86 24-66Q44-34 24-6Z', '#ff8a2c') +
    path('M-14-6Q-22-34 0-54Q2-70 8-78Q10-56 18-40Q24-18 12-6Z', '#ffd36b') +
    path('M-6-6Q-8-22 2-32Q10-20 6-6Z', '#fff6d0'),
  lantern: (p) =>
    line('M0 6V-128Q0-150 24-150H38V-138', p.dark, 8) +
    path('M24-138H52L58-96H18Z', p.warm) +
    line('M24-138H52L58-96H18ZM38-138V-96', p.dark, 4) +
    path('M20-138L38-156L56-138Z', p.dark),
  candle: (p) =>
    path('M-8 0V-44H8V0Z', mix(p.warm, '#ffffff', 0.5)) +
    path('M0-72Q12-54 0-46Q-12-54 0-72Z', '#ffd36b') +
    path('M-22 4H22L16-4H-16Z', p.dark),
  book: (p) =>
    path('M-58 0Q-30-18 0-4Q30-18 58 0V-26Q30-42 0-28Q-30-42-58-26Z', mix(p.warm, '#ffffff', 0.6)) +
    line('M0-4V-28M-46-22Q-28-30-10-22M46-22Q28-30 10-22M-46-13Q-28-21-10-13M46-13Q28-21 10-13', p.dark, 2),
  table: (p) =>
    path('M-190-92H190L222-66H-222Z', p.lit) +
    path('M-222-66H222V-48H-222Z', p.dark) +
    path('M-196-48H-170L-176 40H-190ZM170-48H196L190 40H176Z', p.dark),
  door: (p) =>
    path('M-66 0V-190a66 66 0 0 1 132 0V0Z', p.dark) +
    path('M-54 0V-188a54 54 0 0 1 108 0V0Z', p.lit) +
    line('M-18 0V-238M18 0V-238M-54-70H54M-54-170H54', p.dark, 4) +
    `<circle cx="38" cy="-108" r="6" fill="${p.warm}"/>`,
  window: (p) =>
    path('M-70-40V-170a70 70 0 0 1 140 0V-40Z', p.dark) +
    path('M-58-48V-168a58 58 0 0 1 116 0V-48Z', p.warm, ' opacity=".5"') +
    line('M0-48V-226M-58-120H58', p.dark, 6),
  bird: (p) => path('M-34-12Q-8-36 18-24L36-28L22-14Q8 6-20 2L-46 10Z', p.dark) + line('M-4 0v16M6-2v16', p.dark, 3),
};

/** Where a prop goes, and how large. */
export interface Spot {
  x: number;
  y: number;
  scale: number;
  turn?: number;
}

/** Puts one prop on the sheet. */
export function placeProp(sheet: Sheet, thing: Thing, spot: Spot, paint: Paint): void {
  const turn = spot.turn === undefined ? '' : ` rotate(${n(spot.turn)})`;
  sheet.add(
    `<g transform="translate(${n(spot.x)} ${n(spot.y)})${turn} scale(${Math.round(spot.scale * 100) / 100})">${props[thing](paint)}</g>`,
  );
}
