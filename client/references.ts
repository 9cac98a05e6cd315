/** A thing by its document, its id or its name. */
export type Reference = string | { readonly id: string };

/** As the API takes it: an id or a name. */
export function idOrName(reference: Reference): string {
  return typeof reference === 'string' ? reference : reference.id;
}

/** The same within a path. */
export function inPath(reference: Reference): string {
  return encodeURIComponent(idOrName(reference));
}
