/** Session tokens and the requests that need them. */
const tokenKey = 'mullion.token';

export const token = {
  get: () => sessionStorage.getItem(tokenKey) ?? undefined,
  set: (value) => sessionStorage.setItem(tokenKey, value),
  drop: () => sessionStorage.removeItem(tokenKey),
};

export function authorised(path) {
  const bearer = token.get();
  return fetch(path, bearer === undefined ? {} : { headers: { authorization: `Bearer ${bearer}` } });
}

const blobs = new Map();
const mostBlobs = 40;

/** Shows a stored picture; with a token it is fetched, because an `<img>` cannot carry one. Other addresses are never loaded. */
export function showPicture(image, path) {
  if (!/^\/v1\/assets\/[\w./-]+$/.test(path)) return image;
  if (token.get() === undefined) image.src = path;
  else void blobOf(path).then((url) => url !== null && (image.src = url));
  return image;
}

function blobOf(path) {
  let url = blobs.get(path);
  if (url === undefined) {
    url = authorised(path)
      .then(async (response) => (response.ok ? URL.createObjectURL(await response.blob()) : null))
      .catch(() => null);
    blobs.set(path, url);
    if (blobs.size > mostBlobs) dropOldest();
  }
  return url;
}

function dropOldest() {
  const [path, url] = blobs.entries().next().value;
  blobs.delete(path);
  void url.then((address) => address !== null && URL.revokeObjectURL(address));
}
