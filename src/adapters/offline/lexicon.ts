/** What words in a story point to what in a picture: English, Spanish, Japanese, Chinese. Latin words stand folded (singular, small). */

/** Where a scene can be. Order decides ties: the rarer first. */
export const places = {
  cave: 'cave cavern grotto tunnel mine crypt catacomb cueva caverna gruta 洞窟 洞穴 山洞 洞',
  tavern: 'tavern inn pub bar alehouse taproom taberna posada cantina 酒場 居酒屋 酒馆 客栈 酒館',
  library: 'library archive study scriptorium bookshop biblioteca archivo librería 図書館 書斎 图书馆 书房 圖書館',
  room: 'room kitchen bedroom parlour parlor hall cellar attic cabin office chamber corridor indoor inside hearth fireplace habitación cocina sala dormitorio salón 部屋 台所 室内 房间 厨房 屋里',
  city: 'city street town square rooftop alley skyline downtown market station avenue ciudad calle plaza 都市 街 東京 城市 街道 大街',
  village: 'village hamlet cottage farm farmhouse pueblo aldea granja 村 村庄 村子',
  forest: 'forest wood woodland grove glade jungle pine clearing thicket bosque selva 森 林 森林 树林 丛林',
  desert: 'desert dune oasis sand desierto duna arena 砂漠 砂丘 沙漠 沙丘',
  mountain: 'mountain peak summit ridge valley pass alp hill montaña cima valle colina 山 峰 谷 山顶 山谷',
  lake: 'lake pond lagoon marsh swamp lago laguna pantano 湖 池 沼 湖边',
  river: 'river stream creek riverbank waterfall río arroyo orilla 川 河 小溪 河边',
  sea: 'sea ocean coast shore beach harbour harbor bay tide surf pier dock island reef seaside mar océano costa playa puerto isla 海 港 浜 島 海边 海岸 岛',
  field:
    'field meadow garden plain prairie pasture park orchard moor heath campo prado jardín 野原 庭 草原 公園 田野 花园',
  space:
    'space spaceship spacecraft orbit planet galaxy asteroid starship moonbase airlock espacio nave planeta 宇宙 惑星 太空 飞船 星球',
} as const;

export const times = {
  dawn: 'dawn sunrise daybreak morning amanecer mañana alba 夜明け 朝 日の出 黎明 清晨 早晨 日出',
  dusk: 'dusk sunset evening twilight nightfall atardecer anochecer crepúsculo tarde 夕方 夕暮れ 日没 黄昏 傍晚 日落',
  night:
    'night midnight moon moonlight moonlit star starlight starry darkness noche medianoche luna estrella oscuridad 夜 深夜 真夜中 月 星 夜晚 午夜 月光 黑暗',
  day: 'day noon midday afternoon sun sunlight sunny sunlit daylight día mediodía sol 昼 正午 太陽 白天 中午 阳光',
} as const;

export const weathers = {
  storm:
    'storm thunder lightning tempest gale hurricane thunderstorm stormy squall tormenta tempestad trueno rayo relámpago 嵐 雷 稲妻 暴风雨 暴风 闪电 雷雨',
  snow: 'snow snowy snowfall blizzard ice icy frost frozen winter nieve nevada hielo invierno 雪 吹雪 氷 冬 冰 暴雪',
  rain: 'rain rainy raining drizzle downpour shower lluvia llueve lloviendo 雨 下雨',
  fog: 'fog foggy mist misty haze niebla bruma neblina 霧 もや 雾 雾气',
  cloudy: 'cloud cloudy overcast nube nublado 雲 曇り 云 阴天 乌云',
  clear: 'clear cloudless despejado 晴れ 快晴 晴天 晴朗',
} as const;

/** What can stand in a scene, where it stands when nothing else says so, and whether it belongs inside or outside. Order decides ties. */
export const things = {
  lighthouse: { words: 'lighthouse faro 灯台 灯塔 燈塔', place: 'sea', where: 'out' },
  glasshouse: { words: 'glasshouse greenhouse conservatory invernadero 温室', place: 'field', where: 'out' },
  castle: {
    words: 'castle fortress palace citadel castillo fortaleza palacio 城 砦 城堡 宫殿',
    place: 'mountain',
    where: 'out',
  },
  ship: { words: 'ship galleon schooner vessel barco buque velero 帆船 大船 轮船', place: 'sea', where: 'out' },
  boat: {
    words: 'boat rowboat canoe dinghy skiff ferry bote barca canoa 舟 船 小舟 ボート 小船',
    place: 'sea',
    where: 'out',
  },
  windmill: { words: 'windmill mill molino 風車 风车', place: 'field', where: 'out' },
  church: {
    words: 'church chapel cathedral abbey temple iglesia capilla catedral templo 教会 寺 神社 教堂 庙',
    place: 'village',
    where: 'out',
  },
  tower: { words: 'tower spire turret torre 塔', place: 'mountain', where: 'out' },
  ruin: { words: 'ruin rubble ruined pillar column ruina columna 廃墟 遺跡 废墟 遗迹', place: 'field', where: 'out' },
  bridge: { words: 'bridge puente 橋 桥', place: 'river', where: 'out' },
  house: {
    words: 'house hut shack cottage farmhouse mansion casa cabaña choza 家 小屋 屋敷 房子 木屋',
    place: 'village',
    where: 'out',
  },
  tent: { words: 'tent camp tienda campamento テント 帐篷 营地', place: 'forest', where: 'out' },
  campfire: {
    words: 'campfire bonfire fire ember hoguera fogata fuego 焚き火 火 篝火',
    place: 'forest',
    where: 'both',
  },
  lantern: {
    words: 'lantern lamp torch linterna farol lámpara antorcha 提灯 ランプ 灯籠 灯笼 提灯',
    place: 'village',
    where: 'both',
  },
  candle: { words: 'candle vela ろうそく 蝋燭 蜡烛', place: 'room', where: 'in' },
  book: {
    words: 'book tome letter journal diary map libro carta diario mapa 本 手紙 日記 地図 书 信 日记 地图',
    place: 'library',
    where: 'in',
  },
  table: { words: 'table desk counter mesa escritorio 机 テーブル 桌子 桌', place: 'room', where: 'in' },
  door: { words: 'door gate doorway portal puerta portón 扉 門 ドア 门', place: 'room', where: 'in' },
  window: { words: 'window ventana 窓 窗 窗户', place: 'room', where: 'in' },
  tree: { words: 'tree oak willow árbol roble 木 樹 树', place: 'forest', where: 'out' },
  bird: {
    words: 'bird gull raven crow owl seagull pájaro gaviota cuervo búho 鳥 カラス 鸟 乌鸦',
    place: 'field',
    where: 'out',
  },
  figure: {
    words:
      'figure man woman girl boy stranger traveller traveler keeper captain knight child person wizard witch sailor guard king queen soldier friend brother sister mother father hombre mujer niña niño viajero capitán desconocido figura 男 女 少女 少年 旅人 人影 男人 女人 女孩 男孩 旅行者 身影',
    place: 'field',
    where: 'both',
  },
} as const satisfies { [thing: string]: { words: string; place: keyof typeof places; where: 'in' | 'out' | 'both' } };

export const accents = {
  green: 'green emerald verde 緑 绿 绿色',
  red: 'red crimson scarlet rojo roja 赤 红 红色',
  blue: 'blue azure sapphire azul 青 蓝 蓝色',
  gold: 'gold golden amber yellow dorado dorada oro amarillo 金 黄 金色',
  violet: 'violet purple magenta violeta morado púrpura 紫 紫色',
  orange: 'orange copper naranja 橙 橙色',
  white: 'silver silvery white blanco plata 銀 白 银色',
} as const;

/** Words beside which a colour is the colour of a light. */
export const lightWords =
  'light glow glowing glow gleam gleaming shine shining flame lamp lantern beam fire eye spark flash luz brillo brilla brillante llama 光 輝 灯 発光 闪';

export const moods = {
  tense:
    'tense danger afraid fear scream run chase blood fight attack knife sword gun shadow threat trap wolf peligro miedo grito sangre 恐怖 危険 血 叫 害怕 危险',
  eerie:
    'strange ghost whisper silence silent haunted curse empty abandoned missing eerie vanish extraño fantasma susurro silencio 幽霊 静寂 不気味 奇妙 幽灵 寂静 神秘',
  joyful:
    'joyful laugh smile joy feast dance song cheer festival celebrate happy risa alegría fiesta baile feliz 笑 祭り 喜 笑声 节日 快乐',
  sad: 'sad tear cry grief mourn lonely loss lost farewell grave triste lágrima llora adiós tumba 涙 悲 別れ 眼泪 悲伤 告别',
  calm: 'calm quiet gentle peace peaceful rest warm soft sleep tranquilo calma paz suave 静か 穏やか 平和 平静 安静 温暖',
} as const;

/** Adjectives that one can see; one that stands before a thing goes with it into the description. */
export const looks = new Set(
  'dark old ancient abandoned broken ruined wooden stone small little tall great huge narrow lone lonely red white black grey iron rusty frozen glowing burning crooked empty distant tiny golden silver weathered overgrown collapsed half-sunken'.split(
    ' ',
  ),
);

export type Place = keyof typeof places;
export type Time = keyof typeof times;
export type Weather = keyof typeof weathers;
export type Thing = keyof typeof things;
export type Accent = keyof typeof accents;
export type Mood = keyof typeof moods;

/** Places without a sky: what is outside is seen through a window, or not at all. */
export const interiors: readonly Place[] = ['cave', 'tavern', 'library', 'room'];
