import { setText } from './dom.js';
import { draft } from './drafts.js';

/** The composer: never disabled by panes or by the connection. `on.send(text)`, `on.stopReply()`. */
export function createComposer(root, on) {
  const form = root.querySelector('.composer');
  const area = form.querySelector('textarea');
  const stop = form.querySelector('#stop-reply');
  const hint = form.querySelector('#hint');
  let session = '';

  function send() {
    const text = area.value.trim();
    if (text === '') return;
    area.value = '';
    draft.set(session, '');
    on.send(text);
  }

  form.addEventListener('submit', (event) => {
    event.preventDefault();
    send();
    area.focus();
  });
  area.addEventListener('input', () => draft.set(session, area.value));
  area.addEventListener('keydown', (event) => {
    // While an input method composes a word, Enter belongs to it.
    if (event.key !== 'Enter' || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    send();
  });
  stop.addEventListener('click', () => stop.getAttribute('aria-disabled') !== 'true' && on.stopReply());

  return {
    open(name) {
      session = name;
      area.value = draft.get(name);
    },
    /** A refused message comes back, unless something else was begun. */
    giveBack(text) {
      if (area.value !== '') return;
      area.value = text;
      draft.set(session, text);
    },
    update({ streaming, stopping, offline, empty, notice }) {
      stop.hidden = !streaming;
      setText(stop, stopping ? 'Stopping…' : 'Stop reply');
      stop.setAttribute('aria-disabled', String(stopping || offline));
      area.placeholder = empty ? 'Write the first line' : 'What happens next?';
      const busy = streaming ? 'You can write on while the reply comes in.' : '';
      setText(hint, notice ?? (offline ? 'Sends when you are back online.' : busy));
    },
  };
}

/** Asks for a token in the place of the chat's log; `refused` = the last one was not accepted. */
export function signIn(log, make, onToken, refused) {
  const old = log.querySelector('.sign-in');
  if (old !== null) {
    old.querySelector('.wrong').hidden = !refused;
    return;
  }
  const input = make('input', { id: 'token', type: 'password', autocomplete: 'current-password', required: true });
  const form = make(
    'form',
    {
      class: 'sign-in',
      onsubmit: (event) => {
        event.preventDefault();
        onToken(input.value.trim());
      },
    },
    make('h2', {}, 'This server asks for a token'),
    make('label', { for: 'token' }, 'Token. It is kept until this tab is closed.'),
    input,
    make('p', { class: 'wrong', role: 'alert', hidden: !refused }, 'The server did not accept this token.'),
    make('button', { type: 'submit', class: 'btn primary' }, 'Sign in'),
  );
  log.replaceChildren(form);
  input.focus();
}
