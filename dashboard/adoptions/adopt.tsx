import { type FormEvent, useState } from 'react';
import type { AdoptInput, AdoptingClusterDocument } from '../../client/index.ts';
import { useDoing } from '../data.ts';
import { Button, Card, Note } from '../parts/basics.tsx';
import { FailureNote } from '../parts/failure.tsx';
import { Field, TextInput } from '../parts/fields.tsx';
import { Page } from '../parts/page.tsx';
import { go, Link } from '../router.tsx';
import { useSession } from '../session.tsx';

export function AdoptClusterScreen() {
  const { href } = useSession();
  const [adopting, setAdopting] = useState<AdoptingClusterDocument>();
  const done = (cluster: AdoptingClusterDocument) => {
    if (cluster.join_tokens.length === 0) go(href(['clusters', cluster.id]));
    else setAdopting(cluster);
  };
  return (
    <Page title="Adopt a cluster" crumbs={<Link to={href(['clusters'])}>Clusters</Link>}>
      {adopting ? <JoinTokens cluster={adopting} /> : <AdoptForm onAdopted={done} />}
    </Page>
  );
}

/** Each agent needs the token of its host, and no later answer shows the tokens again. */
function JoinTokens({ cluster }: { readonly cluster: AdoptingClusterDocument }) {
  const { href } = useSession();
  return (
    <Card title={`${cluster.name} waits for its agents`}>
      <div className="stack">
        <p>
          Start one agent on each host, with the token of that host. The tokens are shown only now. Nothing on
          the hosts changes until an upgrade is accepted.
        </p>
        <pre className="code">
          {cluster.join_tokens
            .map(
              ({ endpoint: { host, port }, join_token }) =>
                `# on the host of ${host}\nCOFFER_ADVERTISE=${host}:${port}\nCOFFER_JOIN_TOKEN=${join_token}\n`,
            )
            .join('\n')}
        </pre>
        <Link className="button primary" to={href(['clusters', cluster.id])}>
          I have kept them
        </Link>
      </div>
    </Card>
  );
}

interface Draft {
  readonly name: string;
  readonly servers: string;
}

/** What cannot be read as a server is left as it is: the API says what is wrong with it. */
function requestOf({ name, servers }: Draft): AdoptInput {
  const places = servers.split(/[\s,]+/).filter((place) => place !== '');
  return {
    name: name.trim(),
    datastore: { type: 'postgresql' },
    instances: places.map((place) => {
      const [host = '', port = ''] = place.split(':');
      return { host, port: Number(port) };
    }),
  };
}

function AdoptForm({ onAdopted }: { readonly onAdopted: (cluster: AdoptingClusterDocument) => void }) {
  const [draft, setDraft] = useState<Draft>({ name: '', servers: '' });
  const set = (change: Partial<Draft>) => setDraft({ ...draft, ...change });
  const adopting = useDoing(async (client) => onAdopted(await client.clusters.adopt(requestOf(draft))));
  const submit = (event: FormEvent) => {
    event.preventDefault();
    void adopting.run();
  };
  return (
    <Card className="form-card">
      <form className="stack" onSubmit={submit}>
        {adopting.error !== undefined && (
          <FailureNote error={adopting.error} what="The cluster was not adopted" />
        )}
        <Note kind="info" title="PostgreSQL servers that exist and serve">
          Coffer builds nothing, and deletes nothing. An agent on each host reports what it finds.
        </Note>
        <Field label="Name">
          {(id) => <TextInput id={id} value={draft.name} onChange={(name) => set({ name })} required />}
        </Field>
        <Field label="Servers" hint="host:port of each, with commas between them: db-1:5432, db-2:5432">
          {(id) => (
            <TextInput id={id} value={draft.servers} onChange={(servers) => set({ servers })} required />
          )}
        </Field>
        <div>
          <Button type="submit" kind="primary" isBusy={adopting.isBusy}>
            Adopt the cluster
          </Button>
        </div>
      </form>
    </Card>
  );
}
