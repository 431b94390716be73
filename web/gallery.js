import { showPicture } from './assets.js';
import { el, icon, rebuild, setAttribute, setChildren, setText } from './dom.js';
import { picturesOf, standing, titleOfPicture, versionsOf } from './illustrations.js';
import { taskLight } from './tasks.js';
import { freshProgress, percent } from './words.js';

const verbs = { 'task.cancel': ['i-x', 'Cancel', 'stopping…'], 'task.retry': ['i-again', 'Retry', 'starting…'], 'pane.run': ['i-again', 'Draw again', 'starting…'] };

/** The pictures inside the text, by message, newest first. `on.press(key, pane, command, word)` sends what a button says. */
export function createGallery(name, body, on) {
  const note = el('p', {});
  const turnOn = el('button', { type: 'button', class: 'btn', onclick: () => on.turnOn(name) }, 'Turn on');
  const blank = el('div', { class: 'blank-note' }, note, turnOn);
  const groups = new Map();
  const tiles = new Map();

  function groupOf(id) {
    let group = groups.get(id);
    if (group === undefined) {
      const [heading, line, list] = [el('h3', {}), el('p', { class: 'choosing' }), el('ul', { class: 'tiles' })];
      group = { node: el('section', { class: 'gallery-group' }, heading, line, list), heading, line, list };
      groups.set(id, group);
    }
    return group;
  }

  return {
    update(pane, view, live, context) {
      const shown = [...picturesOf(view, pane)].reverse();
      const off = pane.phase === 'off';
      turnOn.hidden = !off;
      setText(turnOn, context.pressed.has(`${name}/on`) ? 'Turning on…' : 'Turn on');
      setAttribute(turnOn, 'aria-disabled', context.offline || context.pressed.has(`${name}/on`) ? 'true' : null);
      setText(note, off ? 'Pictures inside the text are off in this session.' : 'No picture in the text yet. Each reply that asks for one gets it at its place.');
      const nodes = shown.map(([id, { number, pictures, choosing }]) => {
        const group = groupOf(id);
        setText(group.heading, `message #${number}`);
        updateChoosing(group.line, name, choosing, pane, live, context, on);
        const list = pictures.map((picture) => {
          const tile = tiles.get(picture.key) ?? createTile(name, on);
          tiles.set(picture.key, tile);
          updateTile(tile, picture, pane, live, context);
          return tile.node;
        });
        setChildren(group.list, list);
        group.list.hidden = list.length === 0;
        return group.node;
      });
      setChildren(body, nodes.length === 0 ? [blank] : nodes);
      forget(groups, new Set(shown.map(([id]) => id)));
      forget(tiles, new Set(shown.flatMap(([, { pictures }]) => pictures.map(({ key }) => key))));
    },
  };
}

function forget(map, kept) {
  for (const key of map.keys()) if (!kept.has(key)) map.delete(key);
}

/** The model looks for what to illustrate: a line of its own until there are pictures. */
function updateChoosing(line, name, tasks, pane, live, context, on) {
  const task = tasks.at(-1);
  line.hidden = task === undefined;
  if (task === undefined) return;
  const light = taskLight(task, live?.tasks?.[task.id], context.now, pane);
  const retry = task.status === 'failed' || task.status === 'cancelled';
  rebuild(line, JSON.stringify([task.id, light, context.offline]), () => [
    el('span', { class: 'inline-task', 'data-tone': light.tone }, icon(light.icon), el('b', {}, task.label), light.text),
    ...(retry ? [smallButton('Retry', `Retry: ${task.label}`, context, () => on.press(`${name}/${task.id}`, name, { type: 'task.retry', pane: name, task: task.id }, 'starting…'))] : []),
  ]);
}

const smallButton = (label, spoken, context, press) =>
  el('button', { type: 'button', class: 'btn quiet', 'aria-label': spoken, 'aria-disabled': context.offline ? 'true' : null, onclick: () => context.offline || press() }, label);

function createTile(name, on) {
  const tile = { name, version: null, act: null, picture: null, offline: false };
  const { press } = on;
  const send = (command, word) => tile.offline || press(`${name}/${tile.picture.key}`, name, { pane: name, ...command }, word);
  tile.pic = el('div', { class: 'pic' });
  tile.state = el('span', { class: 'st' });
  tile.meter = el('div', { class: 'meter', hidden: true }, el('i'));
  tile.button = el('button', { type: 'button', class: 'btn-icon', onclick: () => tile.waiting || send(tile.act, tile.word) });
  tile.label = el('span', { class: 'lab' });
  const older = el('button', { type: 'button', class: 'btn-icon', onclick: () => tile.step(-1) }, '‹');
  const newer = el('button', { type: 'button', class: 'btn-icon', onclick: () => tile.step(1) }, '›');
  const count = el('span', {});
  tile.stepper = { node: el('span', { class: 'stepper', hidden: true }, older, count, newer), older, newer, count };
  tile.first = el('button', { type: 'button', class: 'btn quiet first', hidden: true, onclick: () => send({ type: 'task.prioritize', task: tile.picture.task.id }, 'moving…') }, 'Put first');
  const frame = el('div', { class: 'frame-of' }, tile.pic, tile.meter, tile.state, el('span', { class: 'act' }, tile.button));
  tile.node = el('li', { class: 'tile' }, frame, tile.label, tile.stepper.node, tile.first);
  return tile;
}

function updateTile(tile, picture, pane, live, context) {
  const stand = standing(picture, pane, live, context.now);
  const title = titleOfPicture(picture.prompt);
  const spoken = `illustration ${picture.number}, ${title.slice(0, 80)}`;
  const mark = context.pressed.get(`${tile.name}/${picture.key}`);
  Object.assign(tile, { picture, offline: context.offline, waiting: mark !== undefined, act: stand.act });
  setAttribute(tile.node, 'data-status', stand.status);
  setText(tile.label, `${picture.number} ${title}`);
  setAttribute(tile.label, 'title', title);
  updateState(tile, stand, mark, context.now);
  const [sign, verb, word] = verbs[stand.act.type];
  tile.word = word;
  rebuild(tile.button, sign, () => [icon(sign, 16)]);
  setAttribute(tile.button, 'aria-label', `${verb} ${spoken}`);
  setAttribute(tile.button, 'title', verb);
  setAttribute(tile.button, 'aria-disabled', mark !== undefined || context.offline ? 'true' : null);
  tile.first.hidden = stand.first !== true;
  setAttribute(tile.first, 'aria-label', `Put first ${spoken}`);
  setAttribute(tile.first, 'aria-disabled', mark !== undefined || context.offline ? 'true' : null);
  updateVersion(tile, picture, spoken);
  preview(tile.pic.parentElement, stand.status === 'running' ? stand.news?.preview : undefined);
}

/** What is under way stands on the picture; that one is done is only said to those who do not see it. */
function updateState(tile, stand, mark, now) {
  setText(tile.state, mark?.label ?? stand.text);
  tile.state.classList.toggle('vh', stand.status === 'done' && mark === undefined);
  setAttribute(tile.state, 'data-tone', stand.tone);
  const working = stand.status === 'running';
  const number = working ? freshProgress(stand.news, now) : null;
  tile.meter.hidden = !working;
  tile.meter.classList.toggle('loading-soft', working && number === null);
  tile.meter.firstElementChild.hidden = number === null;
  if (number !== null) tile.meter.firstElementChild.style.setProperty('--p', percent(number));
  tile.node.classList.toggle('drawn', stand.drawn);
  // More than two lines need the room of the sign.
  tile.node.classList.toggle('long', tile.state.textContent.length > 24);
  if (!stand.drawn) rebuild(tile.pic, `icon ${stand.icon}`, () => [icon(stand.icon, 20)]);
}

/** The newest version, unless somebody looks at an older one. */
function updateVersion(tile, picture, spoken) {
  const versions = versionsOf(picture.part);
  const newest = versions.at(-1)?.version ?? null;
  if (tile.newest !== newest) [tile.newest, tile.version] = [newest, newest];
  const at = Math.max(0, versions.findIndex(({ version }) => version === tile.version));
  const { node, older, newer, count } = tile.stepper;
  node.hidden = versions.length < 2;
  setText(count, `${at + 1} of ${versions.length}`);
  setAttribute(older, 'aria-label', `Older version of ${spoken}`);
  setAttribute(newer, 'aria-label', `Newer version of ${spoken}`);
  setAttribute(older, 'aria-disabled', at === 0 ? 'true' : null);
  setAttribute(newer, 'aria-disabled', at >= versions.length - 1 ? 'true' : null);
  tile.step = (by) => {
    tile.version = versions[Math.min(versions.length - 1, Math.max(0, at + by))].version;
    updateVersion(tile, picture, spoken);
  };
  const shown = versions[at]?.value;
  if (shown !== undefined)
    rebuild(tile.pic, `asset ${shown.asset}`, () => [showPicture(el('img', { alt: shown.prompt ?? picture.prompt, loading: 'lazy' }), shown.asset)]);
}

/** A look at the work, small and blurred in the corner: the picture itself changes only on commit. */
export function preview(picture, asset) {
  const old = picture.querySelector('.preview');
  if (asset === undefined) return old?.remove();
  if (old?.dataset.asset === asset) return undefined;
  old?.remove();
  const image = showPicture(el('img', { alt: '' }), asset);
  return picture.append(el('div', { class: 'preview', 'aria-hidden': 'true', 'data-asset': asset }, image));
}
