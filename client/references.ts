/** Names a thing by its document, its id or its name. */
export type Reference = string | { readonly id: string };

/** The reference in the form that the API takes: an id or a name. */
export function idOrName(reference: Reference): string {
  return typeof reference === 'string' ? reference : reference.id;
}

/** The same, encoded for a path. */
export function inPath(reference: Reference): string {
  return encodeURIComponent(idOrName(reference));
}
