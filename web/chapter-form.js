import { askedChapters } from './drafts.js';
import { el, icon, setAttribute, setText } from './dom.js';

/** Most chapters in one request. */
const most = 200;
const wishes = { review: 'look at each chapter before going on', edit: 'an edit pass after the draft', parallel: 'at the same time, not one after the other' };

/** The form that asks for chapters: what is typed stays over updates, over closing it, and over a reload. */
export function createChapterForm(name, on) {
  const form = { name, on, session: null, taken: [], offline: false, sending: false, opener: null };
  form.boxes = Object.keys(wishes).map((key) => el('input', { type: 'checkbox', name: key }));
  form.rows = createRows(() => changed(form));
  form.wrong = el('p', { class: 'wrong', role: 'alert', hidden: true });
  form.submit = el('button', { type: 'submit', class: 'btn primary' });
  form.node = el(
    'form',
    {
      class: 'write', hidden: true, 'aria-label': 'Write chapters', oninput: () => changed(form),
      onsubmit: (event) => {
        event.preventDefault();
        void send(form);
      },
      onkeydown: (event) => {
        if (event.key !== 'Escape') return;
        event.stopPropagation();
        toggle(form, false);
      },
    },
    form.rows.node,
    form.rows.add,
    el('div', { class: 'choices' }, ...form.boxes.map((box) => el('label', {}, box, wishes[box.name]))),
    form.wrong,
    el('span', { class: 'do' }, form.submit, el('button', { type: 'button', class: 'btn quiet', onclick: () => toggle(form, false) }, 'Close')),
  );
  return {
    node: form.node,
    toggle: (open) => toggle(form, open),
    update(context, session, chapters) {
      form.taken = chapters.map(({ id }) => id);
      form.offline = context.offline;
      if (form.session !== session) restore(form, session);
      showSubmit(form);
    },
  };
}

function toggle(form, open = form.node.hidden) {
  if (open === !form.node.hidden) return;
  if (open) form.opener = document.activeElement;
  form.node.hidden = !open;
  form.on.changed(true);
  if (open) {
    form.node.scrollIntoView({ block: 'nearest' });
    form.rows.focus();
  } else if (form.opener?.isConnected && form.opener.offsetParent !== null) form.opener.focus();
  else form.on.focusTool(form.name);
}

const wished = (form) => Object.fromEntries(form.boxes.map(({ name, checked }) => [name, checked]));

function changed(form) {
  if (form.session !== null) askedChapters.set(form.session, { chapters: form.rows.values(), ...wished(form) });
  showSubmit(form);
}

function restore(form, session) {
  const asked = askedChapters.get(session);
  form.session = null;
  for (const box of form.boxes) box.checked = asked[box.name] === true;
  form.rows.fill(asked.chapters.slice(0, most));
  form.session = session;
  form.wrong.hidden = true;
}

function showSubmit({ rows, submit, sending, offline }) {
  const count = rows.node.children.length;
  setText(submit, sending ? 'Starting…' : count === 1 ? 'Write 1 chapter' : `Write ${count} chapters`);
  setAttribute(submit, 'aria-disabled', sending || offline || count === 0 ? 'true' : null);
}

async function send(form) {
  const { session, name, on, rows, wrong } = form;
  if (form.submit.getAttribute('aria-disabled') === 'true') return;
  form.sending = true;
  showSubmit(form);
  const first = nextNumber(form.taken);
  const chapters = rows.values().map(({ title, brief }, index) => ({ id: `chapter-${first + index}`, title, brief }));
  const refused = await on.ask({ type: 'pane.run', pane: name, input: { chapters, ...wished(form) } });
  form.sending = false;
  if (refused === null) askedChapters.drop(session);
  // Somebody has gone to another session meanwhile: its form is not this one.
  if (form.session === session) {
    wrong.hidden = refused === null;
    setText(wrong, refused ?? '');
    if (refused === null) {
      restore(form, session);
      toggle(form, false);
    }
  }
  showSubmit(form);
}

/** The first number that no chapter has, nor any before it. */
const nextNumber = (taken) => Math.max(taken.length, ...taken.map((id) => Number(/^chapter-(\d+)$/.exec(id)?.[1] ?? 0))) + 1;

/** A title and a brief for each chapter. Nodes stay while others come and go. */
function createRows(onChange) {
  const node = el('ol', { class: 'asked' });
  const add = el('button', { type: 'button', class: 'btn quiet', onclick: () => append('', '').focus() }, 'Add a chapter');

  function append(title, brief) {
    const field = el('input', { type: 'text', required: true, maxlength: 200, placeholder: 'Title' });
    const about = el('textarea', { required: true, rows: 2, maxlength: 4_000, placeholder: 'What happens in it' });
    [field.value, about.value] = [title, brief];
    const row = el('li', {}, field, el('button', { type: 'button', class: 'btn-icon', onclick: () => remove(row) }, icon('i-x', 16)), about);
    node.append(row);
    renumber();
    return field;
  }

  function remove(row) {
    const next = row.nextElementSibling ?? row.previousElementSibling;
    row.remove();
    renumber();
    (next?.querySelector('input') ?? add).focus();
  }

  function renumber() {
    [...node.children].forEach((row, index) => {
      const [title, button, about] = row.children;
      setAttribute(title, 'aria-label', `Title of chapter ${index + 1}`);
      setAttribute(button, 'aria-label', `Remove chapter ${index + 1}`);
      setAttribute(about, 'aria-label', `Brief of chapter ${index + 1}`);
    });
    add.hidden = node.children.length >= most;
    onChange();
  }

  return {
    node,
    add,
    focus: () => (node.querySelector('input') ?? add).focus(),
    values: () => [...node.children].map(({ children: [title, , about] }) => ({ title: title.value, brief: about.value })),
    fill(chapters) {
      node.replaceChildren();
      for (const { title, brief } of chapters) append(String(title ?? ''), String(brief ?? ''));
    },
  };
}
