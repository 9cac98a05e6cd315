import type { FastifyRequest } from 'fastify';

/** The address under which the caller has reached us: links use the same address. */
export interface Urls {
  readonly origin: string;
  /** Including version and tenant. */
  readonly tenant: string;
}

export function urlsOf(request: FastifyRequest): Urls {
  const origin = originOf(request);
  return { origin, tenant: `${origin}/v1.0/${request.caller.tenant_id}` };
}

export function originOf(request: FastifyRequest): string {
  return `${request.protocol}://${request.host || 'localhost'}`;
}

export interface Link {
  href: string;
  rel: 'self' | 'bookmark' | 'next';
}

export function links(urls: Urls, path: string): Link[] {
  return [
    { href: `${urls.tenant}/${path}`, rel: 'self' },
    { href: `${urls.origin}/${path}`, rel: 'bookmark' },
  ];
}

/** `links` of a page: absent on the last one. `filter` is the rest of the query. */
export function nextLink(
  urls: Urls,
  path: string,
  limit: number,
  marker: string | null,
  filter: readonly string[] = [],
): { links?: Link[] } {
  if (marker === null) return {};
  const query = [...filter, `limit=${limit}`, `marker=${marker}`].join('&');
  return { links: [{ rel: 'next', href: `${urls.tenant}/${path}?${query}` }] };
}
