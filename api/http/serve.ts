import { Server as HttpsServer } from 'node:https';
import { join } from 'node:path';
import type { Registry } from 'prom-client';
import type { Service } from '../../src/service.ts';
import { type Watched, watchFiles } from '../../src/watched-file.ts';
import { isLoopback } from '../access/loopback.ts';
import { buildApp } from '../app.ts';
import type { ApiConfig } from '../config.ts';
import type { Deps } from '../deps.ts';
import { type Certificate, readCertificate } from './certificate.ts';
import { readDashboard } from './dashboard.ts';

/** Serves HTTP from now on; under TLS if there is a certificate, which is read again when it is renewed. */
export async function serveHttp(deps: Deps, config: ApiConfig, registry: Registry): Promise<Service> {
  const { COFFER_TLS_CERT: cert, COFFER_TLS_KEY: key, COFFER_API_HOST: host, COFFER_API_PORT: port } = config;
  const read = (): Certificate | null => (cert && key ? readCertificate(cert, key) : null);
  const dashboard = readDashboard(join(import.meta.dirname, '../../dashboard'));
  if (!dashboard) deps.log.warn('there is no dashboard: it was not built, and npm run build builds it');
  const app = await buildApp(deps, { registry, certificate: read(), dashboard });
  const { server } = app;
  let watched: Watched<unknown> | undefined;
  if (cert && key && server instanceof HttpsServer) {
    const onChange = (renewed: Certificate | null) => renewed && server.setSecureContext(renewed);
    watched = watchFiles({ name: 'certificate', paths: [cert, key], read, log: deps.log, onChange });
  } else if (!isLoopback(host)) {
    deps.log.warn(
      { host },
      'tokens come unencrypted here: set COFFER_TLS_CERT, or let only a proxy with TLS reach this',
    );
  }
  await app.listen({ host, port });
  return {
    name: 'http',
    stop: async () => {
      await watched?.stop();
      await app.close();
    },
  };
}
