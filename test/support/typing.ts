/**
 * How the commands of each page are typed by `test/integration/docs.test.ts`. What can't run on every
 * machine, or runs in another test, is named with that test and with what it looks at.
 */
import type { Typing } from './docs.ts';

/** The stack that a page is typed against: its environment. */
interface Session {
  readonly title: string;
  readonly stack: NodeJS.ProcessEnv;
  readonly pages: Readonly<Record<string, Typing>>;
}

const STARTED = 'npm start: test/integration/stack.test.ts; here it runs already';

/** In every page the address is the one of the stack that was started for it. */
const ADDRESS = { 'http://127.0.0.1:8779': '$COFFER_ENDPOINT' };

/** Shell functions that the keys of `before` use. */
const FUNCTIONS = `
# field upgrade-show shop .upgrade.state: what a command answers in JSON
field() { coffer "\${@:1:$#-1}" --json | node -p "JSON.parse(fs.readFileSync(0))\${@: -1}"; }
waits_for() { until [ "$(field upgrade-show $1 .upgrade.reason)" = $2 ]; do sleep 0.2; done; }
back_to_start() { coffer upgrade-watch $1; coffer upgrade-rollback $1; coffer upgrade-watch $1; }
single() { coffer cluster-create $1 "\${@:2}" --instances 1 --wait > /dev/null; }`;

const FREE_PORTS = `$(node --input-type=module -e "
  const { choosePort } = await import('./scripts/lib/ports.mjs');
  const first = await choosePort();
  console.log(first, await choosePort([first]))")`;

const README: Typing = {
  before: { 'curl -X PATCH': `${FUNCTIONS}\n    back_to_start shop` },
  instead: ADDRESS,
  elsewhere: {
    'npx coffer cluster-adopt': 'test/integration/adoption.test.ts, on servers that were there before',
    'npm run demo':
      'test/integration/demo.test.ts, test/integration/stack.test.ts; npm test is what runs this',
  },
};

const UPGRADES: Typing = {
  before: {
    'npx coffer cluster-create shop': FUNCTIONS,
    'curl -X PATCH': 'back_to_start shop',
    'curl -X POST': 'back_to_start shop',
    'curl -N': 'id=$(field upgrade-show shop .upgrade.id)',
    '--plan-hash': 'back_to_start shop',
    // Another tenant's shop, which takes its time and fails once.
    'coffer upgrade-pause shop': `export COFFER_TENANT=part
      coffer cluster-create shop simulated 1.0 --wait --property simulated.pre_upgrade_ms=3000 \\
        --property 'simulated.fail=[{"instance":1,"action":"upgrade"}]'
      coffer cluster-upgrade shop 1.1 --canary 1 --retries 0
      while [ "$(field upgrade-show shop .upgrade.state)" = scheduled ]; do sleep 0.2; done`,
    'coffer cluster-grow': 'unset COFFER_TENANT; coffer cluster-upgrade shop 17.10 --wait',
    'coffer batch-create': `single spare postgresql 17.8 --property 'tags=["staging"]'`,
    'coffer dead-letters list': `node --input-type=module -e "
      import { connect } from 'amqplib';
      const connection = await connect('$COFFER_AMQP_URL');
      const channel = await connection.createConfirmChannel();
      channel.publish('trove', 'taskmanager', Buffer.from('no message'));
      await channel.waitForConfirms();
      await connection.close();"
      letter() { until id=$(field dead-letters list '.dead_letters[0].id') 2> /dev/null; do sleep 0.2; done; }
      letter`,
  },
  instead: {
    ...ADDRESS,
    'replay <id>': 'replay $id; letter #',
    '<id>': '$id',
    '127.0.0.1:5433,127.0.0.1:5434,127.0.0.1:5435': `'"$(field cluster-show pay \\
      '.cluster.instances.map(({ endpoint: { host, port } }) => host + ":" + port).join()')"'`,
    // Which of two replicas comes first may have changed meanwhile: then it is looked at again.
    'coffer cluster-upgrade shop 17.10 --plan-hash <hash>': `
      until coffer cluster-upgrade shop 17.10 --plan-hash "$(field cluster-upgrade shop 17.10 --dry-run .plan.hash)"
      do sleep 0.2; done
      back_to_start shop #`,
    // Resumed, or the canary was there before the pause.
    'coffer upgrade-resume shop': 'coffer upgrade-resume shop || waits_for shop canary',
    'coffer upgrade-approve shop': 'waits_for shop canary; coffer upgrade-approve shop',
    // Nothing waits to be confirmed here: test/interop/trove-guests.test.ts has guests of Trove's kind.
    'coffer upgrade-confirm shop': 'coffer upgrade-confirm shop || test $? = 4',
    'coffer upgrade-retry shop': 'waits_for shop failure; coffer upgrade-retry shop',
    'coffer upgrade-rollback shop': 'coffer upgrade-watch shop; coffer upgrade-rollback shop',
    'coffer cluster-reset-status shop': `coffer upgrade-watch shop || test $? = 1
      coffer cluster-upgrade shop 2.0
      coffer cluster-reset-status shop`,
    'soak=600': 'soak=1',
    'approval --watch': 'approval --wait || test $? = 6',
  },
  elsewhere: {
    'openstack --os-auth-type': 'test/interop/trove-client.test.ts runs these commands of the real client',
  },
};

const BATCHES: Typing = {
  before: {
    '--watch': `${FUNCTIONS}
      single shop-1 postgresql 17.8`,
    'curl -X POST': 'single shop-2 postgresql 17.8',
    'new Queue': `single shop-3 postgresql 17.8 --property 'tags=["staging"]'
      coffer batch-watch $(field batch-list '.batches[0].id') --wait || test $? = 6`,
    'coffer batch-show': `single shop-5 simulated 1.0
      single shop-6 simulated 1.0
      single shop-7 simulated 1.0 \\
        --property 'simulated.fail=[{"instance":0,"action":"upgrade","permanent":true}]'
      single shop-8 simulated 1.0
      coffer batch-create 1.1 --datastore simulated --wait \\
        --wave share=1 --wave share=2,failures=0 --wave approval || test $? = 6
      id=$(field batch-list '.batches[0].id')`,
    'client.batches.create': `single shop-9 postgresql 17.8 --property 'tags=["staging"]'`,
  },
  instead: {
    ...ADDRESS,
    '"soak_seconds": 600': '"soak_seconds": 0',
    "'redis://127.0.0.1:6379'": 'process.env.COFFER_REDIS_URL',
    'await job.waitUntilFinished(events, 60_000);': `await job.waitUntilFinished(events, 600_000);
      console.log(batch_id);
      process.exit(0);`,
    'batch-retry <id> --cluster shop-7': `batch-retry $id --cluster shop-7
      coffer batch-watch $id --wait || test $? = 6`,
    '<id>': '$id',
    'report.csv': '"$TMPDIR/report.csv"',
    'const { batch } =': `import { createClient } from 'coffer';
      const client = createClient({ endpoint: process.env.COFFER_ENDPOINT + '/v1.0/demo' });
      const { batch } =`,
  },
};

const SECURITY: Typing = {
  before: {
    // As the page says: the file gets the digest, the person the token.
    'COFFER_TOKEN=$token': `sed -i "s/sha256: 2c70.*/sha256: $(printf %s "$token" | sha256sum | cut -d ' ' -f 1)/" "$COFFER_TOKENS_FILE"
      until COFFER_TOKEN=$token coffer --tenant shop datastore-list > /dev/null 2>&1; do sleep 0.2; done`,
  },
  instead: {
    'const client =': `import { createClient } from 'coffer';
      const token = process.env.token;
      const client =`,
    "'https://coffer.example.org:8779/v1.0/shop'": "process.env.COFFER_ENDPOINT + '/v1.0/shop'",
    'token=$(openssl rand -hex 32)': 'export token=$(openssl rand -hex 32)',
  },
  elsewhere: { 'openstack user create': 'test/interop/keystone.test.ts types it at a real Keystone' },
};

/** A tokens file for the page about them is made of the one that it shows. */
export const TOKENS_PAGE = 'docs/security.md';

export const SESSIONS: readonly Session[] = [
  {
    title: 'with external agents',
    stack: { COFFER_PROVISIONER: 'external' },
    pages: {
      'docs/drivers.md': {
        before: { 'kv=$(mktemp -d)': `read p1 p2 <<< "${FREE_PORTS}"` },
        // The ports of the page may be taken.
        instead: { 7101: '$p1', 7102: '$p2' },
        elsewhere: { 'COFFER_PROVISIONER=external npm start': STARTED },
      },
    },
  },
  {
    title: 'with the stack of npm start',
    stack: {},
    pages: {
      'docs/getting-started.md': { elsewhere: { 'npm start': STARTED } },
      'docs/sdk.md': {
        instead: { "'http://127.0.0.1:8779/v1.0/demo'": "process.env.COFFER_ENDPOINT + '/v1.0/demo'" },
      },
      'docs/troubleshooting.md': {},
      'docs/observe.md': {
        before: {
          'grep -h': `${FUNCTIONS}
            single seen simulated 1.0
            coffer cluster-upgrade seen 1.1 --wait
            request=$(field upgrade-show seen .upgrade.requested_by.request_id)`,
        },
        instead: {
          'req-9ee229a0-b28b-49df-a92e-bafdb023ffbf': '$request',
          '.coffer/logs': '"$COFFER_HOME/logs"',
        },
        elsewhere: { 'OTEL_EXPORTER_OTLP_ENDPOINT=': 'test/integration/stack-observed.test.ts' },
      },
      'docs/operate.md': {
        instead: { 'coffer-$(date': '"$TMPDIR"/coffer-$(date' },
        elsewhere: {
          'systemctl enable':
            'test/unit/deploy.test.ts: no systemd runs here; it reads the units and checks them',
          'docker compose up':
            'test/unit/deploy.test.ts: no engine runs here; names, files and variables fit',
          'kubectl create': 'test/unit/deploy.test.ts: no cluster runs here; names, files and variables fit',
          'systemctl stop': 'test/integration/restore.test.ts types all of it but systemctl',
        },
      },
    },
  },
  { title: 'a stack of its own', stack: {}, pages: { 'README.md': README } },
  { title: 'a stack of its own', stack: {}, pages: { 'docs/upgrades.md': UPGRADES } },
  { title: 'a stack of its own', stack: {}, pages: { 'docs/batches.md': BATCHES } },
  { title: 'with tokens', stack: { COFFER_AUTH: 'token' }, pages: { [TOKENS_PAGE]: SECURITY } },
];

/** What is typed nowhere as a whole, and by which test it is held. */
export const NOT_TYPED: Readonly<Record<string, Typing>> = {
  'docs/adopt.md': {
    elsewhere: {
      'coffer cluster-adopt': "test/integration/adoption.test.ts, on servers that Debian's tools have made",
      'COFFER_JOIN_TOKEN=<token': 'test/integration/adoption.test.ts starts agents so',
      'coffer cluster-report': 'test/integration/api-adoption.test.ts',
      'coffer datastore-version-create': 'test/integration/adoption.test.ts upgrades so',
      'coffer cluster-release shop': 'test/integration/adoption.test.ts',
    },
  },
  'docs/configuration.md': {
    elsewhere: {
      'npx coffer-api': 'test/integration/package.test.ts starts them from the published package',
      'COFFER_JOIN_TOKEN=<token>': 'test/integration/external.test.ts joins agents so',
    },
  },
  'CONTRIBUTING.md': {
    elsewhere: {
      'npm run simulate':
        'test/unit/docs.test.ts: the scripts are there, and know these options; running them takes hours',
      'UPDATE=1 npm test':
        'test/unit/policy-table.test.ts, and the two others, say these commands where a text is out of date',
    },
  },
};
