import type { Message } from '../../src/protocol/view.ts';

type Line = [role: 'user' | 'assistant', text: string];

/** A transcript as the panes hand it over. */
export function messagesOf(lines: readonly Line[]): Message[] {
  return lines.map(([role, text], index) => ({
    id: `m${index + 1}`,
    role,
    text,
    generation: Math.floor(index / 2) + 1,
    at: '2026-11-20T18:00:00.000Z',
    final: true,
    outcome: 'complete',
  }));
}

export const english: Line[] = [
  ['user', 'I walk down to the harbour of Saltmere to find Tobias, the lighthouse keeper.'],
  [
    'assistant',
    'The harbour of Saltmere lies empty under a bruised evening sky. Marta, who sells nets by the pier, shakes her head when you mention Tobias. "Nobody has seen him since Tuesday," she says. Out on the rocks the lighthouse stands dark for the first time in forty years. What do you do?',
  ],
  ['user', 'I ask Marta whether I can borrow her boat.'],
  [
    'assistant',
    'Marta hesitates, then hands you the key to her rowing boat. She warns you that Mr. Harrow, the harbour master, has forbidden anyone to go near the lighthouse. A storm is building over the sea and the first thunder rolls in from the west.',
  ],
  ['user', 'ok'],
  [
    'assistant',
    'You row out into the night. Rain drives across the waves and lightning shows the lighthouse for an instant. A green light glows under the water beside your boat, keeping pace with every stroke.',
  ],
  ['user', 'I reach into the water and try to grab the thing that is glowing.'],
  [
    'assistant',
    'Your fingers close on a coin so cold that it burns. The green light fades from the sea and settles in the coin in your palm. At the foot of the dark lighthouse the door hangs open, and on the step lies the logbook of Tobias, its last page torn out.',
  ],
];

export const japanese: Line[] = [
  ['user', '私は灯台守のトビアスを探しに港へ行く。'],
  [
    'assistant',
    '夜の港には誰もいない。嵐が近づき、海は荒れている。マルタという女が桟橋で網を直していた。灯台は四十年ぶりに暗いままだ。マルタは小さな舟の鍵をあなたに渡した。',
  ],
];

export const chinese: Line[] = [
  ['user', '我去港口寻找灯塔看守人托比亚斯。'],
  [
    'assistant',
    '夜晚的港口空无一人。暴风雨正在逼近，海面波涛汹涌。一个名叫玛尔塔的女人在码头修补渔网。灯塔四十年来第一次没有亮起。玛尔塔把小船的钥匙交给了你。',
  ],
];

export const spanish: Line[] = [
  ['user', 'Bajo al puerto de Salmar para buscar a Tobías, el guardián del faro.'],
  [
    'assistant',
    'El puerto de Salmar está vacío bajo la noche. La Sra. Marta, que vende redes junto al mar, niega con la cabeza al oír el nombre de Tobías. El faro lleva tres días apagado por primera vez en cuarenta años. Una tormenta se acerca desde el oeste y los truenos sacuden la costa. Marta te entrega la llave de su bote de remos.',
  ],
];
