/** Where the user is: the address, and navigation to another address without loading a new page. */
import { type AnchorHTMLAttributes, type MouseEvent, useSyncExternalStore } from 'react';

/** Path of the dashboard itself, with a slash at its end; the api writes it into the page. */
const BASE = new URL(document.baseURI).pathname;

/** The address of the API, seen from the dashboard. */
export const API_URL = new URL('../v1.0', document.baseURI).href;

interface Place {
  /** The path below the dashboard, decoded: `['demo', 'clusters']`. */
  readonly path: readonly string[];
  readonly query: URLSearchParams;
}

const listeners = new Set<() => void>();

function subscribe(listener: () => void): () => void {
  listeners.add(listener);
  window.addEventListener('popstate', listener);
  return () => {
    listeners.delete(listener);
    window.removeEventListener('popstate', listener);
  };
}

/** The current place; the component renders again when the place changes. */
export function usePlace(): Place {
  return placeOf(useSyncExternalStore(subscribe, () => window.location.href));
}

function placeOf(href: string): Place {
  const { pathname, searchParams } = new URL(href);
  const below = pathname.startsWith(BASE) ? pathname.slice(BASE.length) : '';
  return { path: below.split('/').filter(Boolean).map(decoded), query: searchParams };
}

function decoded(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

/** The address of a place below the dashboard; empty values of `query` are left out. */
export function hrefTo(path: readonly string[], query: Readonly<Record<string, string>> = {}): string {
  const search = new URLSearchParams(Object.entries(query).filter(([, value]) => value !== '')).toString();
  return `${BASE}${path.map(encodeURIComponent).join('/')}${search === '' ? '' : `?${search}`}`;
}

export function go(href: string, { replace = false }: { readonly replace?: boolean } = {}): void {
  if (replace) window.history.replaceState(null, '', href);
  else window.history.pushState(null, '', href);
  for (const listener of listeners) listener();
}

type LinkProps = Omit<AnchorHTMLAttributes<HTMLAnchorElement>, 'href'> & { readonly to: string };

/** A link within the dashboard: a real link, which can be opened in another tab. */
export function Link({ to, onClick, ...rest }: LinkProps) {
  const onGo = (event: MouseEvent<HTMLAnchorElement>) => {
    onClick?.(event);
    const isPlain = event.button === 0 && !(event.metaKey || event.ctrlKey || event.shiftKey || event.altKey);
    if (event.defaultPrevented || !isPlain) return;
    event.preventDefault();
    go(to);
    window.scrollTo(0, 0);
  };
  return <a {...rest} href={to} onClick={onGo} />;
}
