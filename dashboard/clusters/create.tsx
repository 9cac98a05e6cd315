import { type FormEvent, useState } from 'react';
import type { CreateClusterInput, CreatedClusterDocument, DatastoreDocument } from '../../client/index.ts';
import { useDoing, usePolled } from '../data.ts';
import { Button, Card, Note } from '../parts/basics.tsx';
import { FailureNote, Reading } from '../parts/failure.tsx';
import { Field, Select, TextInput } from '../parts/fields.tsx';
import { Page } from '../parts/page.tsx';
import { go, Link } from '../router.tsx';
import { useSession } from '../session.tsx';
import { byName } from './filter.ts';

export function CreateClusterScreen() {
  const { href } = useSession();
  const { data, error, reload } = usePolled((client) => client.datastores.list(), {
    key: 'datastores',
    everyMs: null,
  });
  const [created, setCreated] = useState<CreatedClusterDocument>();
  const done = (cluster: CreatedClusterDocument) => {
    if (cluster.join_token === undefined) go(href(['clusters', cluster.id]));
    else setCreated(cluster);
  };
  return (
    <Page title="New cluster" crumbs={<Link to={href(['clusters'])}>Clusters</Link>}>
      <Reading what="the datastores" data={data} error={error} reload={reload} />
      {created && <JoinToken cluster={created} />}
      {data && !created && <CreateForm datastores={data} onCreated={done} />}
    </Page>
  );
}

/** External agents need the token, and no later answer shows it again. */
function JoinToken({ cluster }: { readonly cluster: CreatedClusterDocument }) {
  const { href } = useSession();
  return (
    <Card title={`${cluster.name} waits for its guest agents`}>
      <div className="stack">
        <p>
          Start one agent on each of {cluster.instances.length} hosts with this token. It is shown only now,
          and whoever knows it can join until the cluster is built.
        </p>
        <pre className="code">COFFER_JOIN_TOKEN={cluster.join_token}</pre>
        <Link className="button primary" to={href(['clusters', cluster.id])}>
          I have kept it
        </Link>
      </div>
    </Card>
  );
}

interface Draft {
  readonly name: string;
  readonly datastore: string;
  readonly version: string;
  readonly instances: string;
  readonly tags: string;
}

function firstDraft(datastores: readonly DatastoreDocument[]): Draft {
  const [first] = datastores;
  const version = first?.versions.find(({ id }) => id === first.default_version) ?? first?.versions[0];
  return { name: '', datastore: first?.name ?? '', version: version?.name ?? '', instances: '3', tags: '' };
}

function requestOf({ name, datastore, version, instances, tags }: Draft): CreateClusterInput {
  const words = tags.split(',').map((tag) => tag.trim());
  const kept = words.filter((tag) => tag !== '');
  return {
    name: name.trim(),
    datastore: { type: datastore, version },
    instances: Array.from({ length: Number(instances) }, () => ({})),
    ...(kept.length > 0 && { extended_properties: { tags: kept } }),
  };
}

interface CreateFormProps {
  readonly datastores: readonly DatastoreDocument[];
  readonly onCreated: (cluster: CreatedClusterDocument) => void;
}

function CreateForm({ datastores, onCreated }: CreateFormProps) {
  const [draft, setDraft] = useState(() => firstDraft(datastores));
  const set = (change: Partial<Draft>) => setDraft({ ...draft, ...change });
  const creating = useDoing(async (client) => onCreated(await client.clusters.create(requestOf(draft))));
  const submit = (event: FormEvent) => {
    event.preventDefault();
    void creating.run();
  };
  const isSimulated = draft.datastore === 'simulated';
  return (
    <Card className="form-card">
      <form className="stack" onSubmit={submit}>
        {creating.error !== undefined && (
          <FailureNote error={creating.error} what="The cluster was not created" />
        )}
        {isSimulated && (
          <Note kind="info" title="A simulated cluster">
            Its instances behave like database servers and hold no data: for trying things out.
          </Note>
        )}
        <Field label="Name">
          {(id) => <TextInput id={id} value={draft.name} onChange={(name) => set({ name })} required />}
        </Field>
        <Kind datastores={datastores} draft={draft} onChange={set} />
        <Field label="Tags" hint="Words with commas between them, by which batches select clusters.">
          {(id) => <TextInput id={id} value={draft.tags} onChange={(tags) => set({ tags })} />}
        </Field>
        <div>
          <Button type="submit" kind="primary" isBusy={creating.isBusy}>
            Create the cluster
          </Button>
        </div>
      </form>
    </Card>
  );
}

interface KindProps {
  readonly datastores: readonly DatastoreDocument[];
  readonly draft: Draft;
  readonly onChange: (change: Partial<Draft>) => void;
}

/** The kind of the new cluster, and its size. */
function Kind({ datastores, draft, onChange }: KindProps) {
  const versions = (datastores.find(({ name }) => name === draft.datastore)?.versions ?? [])
    .filter(({ active }) => active === 1)
    .toSorted((a, b) => byName(b.name, a.name));
  const choose = (name: string) => {
    const datastore = datastores.filter((one) => one.name === name);
    onChange({ datastore: name, version: firstDraft(datastore).version });
  };
  return (
    <div className="field-row">
      <Field label="Datastore">
        {(id) => (
          <Select id={id} value={draft.datastore} onChange={choose} options={datastores.map(optionOf)} />
        )}
      </Field>
      <Field label="Version">
        {(id) => (
          <Select
            id={id}
            value={draft.version}
            onChange={(version) => onChange({ version })}
            options={versions.map(optionOf)}
          />
        )}
      </Field>
      <Field label="Instances">
        {(id) => (
          <TextInput
            id={id}
            type="number"
            min={1}
            max={100}
            value={draft.instances}
            onChange={(instances) => onChange({ instances })}
            required
          />
        )}
      </Field>
    </div>
  );
}

function optionOf({ name }: { readonly name: string }) {
  return { value: name, label: name };
}
