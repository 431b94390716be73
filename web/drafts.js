const draftKey = (session) => `mullion.draft.${session}`;
const unsentKey = (session) => `mullion.unsent.${session}`;

/** What the user has typed and not sent, over reloads. */
export const draft = {
  get: (session) => localStorage.getItem(draftKey(session)) ?? '',
  set(session, text) {
    if (text === '') localStorage.removeItem(draftKey(session));
    else localStorage.setItem(draftKey(session), text);
  },
};

/** What the user has sent and nobody has confirmed: kept with its id, so that sending it again after a reload adds it once. */
export const unsent = {
  get(session) {
    try {
      return JSON.parse(localStorage.getItem(unsentKey(session)) ?? '[]');
    } catch {
      return [];
    }
  },
  add: (session, entry) => write(session, [...unsent.get(session), entry]),
  remove: (session, id) => write(session, unsent.get(session).filter((entry) => entry.id !== id)),
};

const chaptersKey = (session) => `mullion.chapters.${session}`;

/** What was typed into the form for chapters and not asked for yet: { chapters: [{ title, brief }], review, edit, parallel }. */
export const askedChapters = {
  get(session) {
    try {
      const kept = JSON.parse(localStorage.getItem(chaptersKey(session)) ?? '{}');
      const { chapters, ...wishes } = kept;
      return { ...wishes, chapters: Array.isArray(chapters) && chapters.length > 0 ? chapters : [{}] };
    } catch {
      return { chapters: [{}] };
    }
  },
  set(session, asked) {
    const empty = asked.chapters.every(({ title, brief }) => title === '' && brief === '');
    if (empty) localStorage.removeItem(chaptersKey(session));
    else localStorage.setItem(chaptersKey(session), JSON.stringify(asked));
  },
  drop: (session) => localStorage.removeItem(chaptersKey(session)),
};

function write(session, entries) {
  if (entries.length === 0) localStorage.removeItem(unsentKey(session));
  else localStorage.setItem(unsentKey(session), JSON.stringify(entries));
}
