/** The frame around every screen, and the mapping from addresses to screens. */
import { type ReactNode, useEffect, useState } from 'react';
import { DeadLettersScreen } from './admin/dead-letters.tsx';
import { HealthScreen } from './admin/health.tsx';
import { AdoptClusterScreen } from './adoptions/adopt.tsx';
import { BatchScreen } from './batches/batch.tsx';
import { CreateBatchScreen } from './batches/create.tsx';
import { BatchesScreen } from './batches/list.tsx';
import { ClusterScreen } from './clusters/cluster.tsx';
import { CreateClusterScreen } from './clusters/create.tsx';
import { ClustersScreen } from './clusters/list.tsx';
import { Entrance } from './entrance.tsx';
import { zoneName } from './format.ts';
import { Button } from './parts/basics.tsx';
import { BatchesIcon, ClustersIcon, HealthIcon, LettersIcon, Logo, ThemeIcon } from './parts/icons.tsx';
import { Page } from './parts/page.tsx';
import { When } from './parts/when.tsx';
import { go, hrefTo, Link, usePlace } from './router.tsx';
import { type Session, SessionGate, useSession } from './session.tsx';
import type { SignIn } from './sign-in.tsx';
import { chooseTheme, chosenTheme, nextTheme, type Theme } from './theme.ts';
import { AskUpgradeScreen } from './upgrades/ask.tsx';
import { UpgradeScreen } from './upgrades/upgrade.tsx';

export function App() {
  const { path } = usePlace();
  const [signIn, setSignIn] = useState<SignIn>();
  const [tenant, ...below] = path;
  useEffect(() => {
    if (tenant !== undefined && below.length === 0) go(hrefTo([tenant, 'clusters']), { replace: true });
  }, [tenant, below.length]);
  if (tenant === undefined) return <Entrance signIn={signIn} onSignIn={setSignIn} />;
  if (below.length === 0) return null;
  return (
    <SessionGate key={tenant} tenant={tenant} signIn={signIn} onSignIn={setSignIn}>
      <Frame>
        <Screen path={below} />
      </Frame>
    </SessionGate>
  );
}

function Screen({ path }: { readonly path: readonly string[] }) {
  const [room, id = '', deed] = path;
  const place = `${room}/${[...path.slice(1).map((part) => (part === 'new' || part === 'adopt' ? part : '*'))].join('/')}`;
  switch (place.replace(/\/$/, '')) {
    case 'clusters':
      return <ClustersScreen />;
    case 'clusters/new':
      return <CreateClusterScreen />;
    case 'clusters/adopt':
      return <AdoptClusterScreen />;
    case 'clusters/*':
      return <ClusterScreen key={id} id={id} />;
    case 'clusters/*/*':
      return deed === 'upgrade' ? <AskUpgradeScreen key={id} id={id} /> : <NowhereScreen />;
    case 'upgrades/*':
      return <UpgradeScreen key={id} id={id} />;
    case 'batches':
      return <BatchesScreen />;
    case 'batches/new':
      return <CreateBatchScreen />;
    case 'batches/*':
      return <BatchScreen key={id} id={id} />;
    case 'dead-letters':
      return <DeadLettersScreen />;
    case 'health':
      return <HealthScreen />;
    default:
      return <NowhereScreen />;
  }
}

function NowhereScreen() {
  const { href } = useSession();
  return (
    <Page title="There is no such page">
      <p>
        The address leads nowhere: it may be mistyped, or from an older release.{' '}
        <Link to={href(['clusters'])}>To the clusters</Link>
      </p>
    </Page>
  );
}

function Frame({ children }: { readonly children: ReactNode }) {
  const session = useSession();
  return (
    <>
      <SkipLink />
      <header className="bar">
        <Link className="brand" to={session.href(['clusters'])} aria-label="Coffer, clusters">
          <Logo />
          <span>Coffer</span>
        </Link>
        <Navigation session={session} />
        <div className="bar-end">
          <TenantSwitch tenant={session.tenant} />
          <ThemeSwitch />
          {session.permissions.user !== null && (
            <Button
              kind="quiet"
              onClick={session.signOut}
              label={`Sign out ${session.permissions.user}: the page forgets the token`}
            >
              Sign out
            </Button>
          )}
        </div>
      </header>
      {session.awaySince !== null && (
        <div className="away" role="status">
          <span className="spin" aria-hidden="true" />
          <span>
            No answer from the API since <When at={new Date(session.awaySince).toISOString()} />. What you see
            is from then; the page asks again by itself.
          </span>
        </div>
      )}
      <main id="content" tabIndex={-1}>
        {children}
      </main>
      <footer className="foot">
        <span>Times are in {zoneName(Date.now())}.</span>
        <span>
          Project {session.tenant}
          {session.permissions.user !== null && <> · {session.permissions.user}</>}
          {session.permissions.is_admin && <> · administrator</>}
        </span>
      </footer>
    </>
  );
}

/**
 * Skips the navigation. Because the page has a base, the link needs the whole address, and must not load the
 * page anew.
 */
function SkipLink() {
  const { path, query } = usePlace();
  return (
    <a
      className="skip"
      href={`${hrefTo(path, Object.fromEntries(query))}#content`}
      onClick={(event) => {
        event.preventDefault();
        document.getElementById('content')?.focus();
      }}
    >
      Skip to the content
    </a>
  );
}

const PLACES = [
  { path: 'clusters', label: 'Clusters', icon: ClustersIcon, rule: 'cluster:index', also: 'upgrades' },
  { path: 'batches', label: 'Batches', icon: BatchesIcon, rule: 'batch:index', also: '' },
  {
    path: 'dead-letters',
    label: 'Dead letters',
    icon: LettersIcon,
    rule: 'dead-letter:index',
    also: '',
  },
  { path: 'health', label: 'Health', icon: HealthIcon, rule: 'health:show', also: '' },
];

function Navigation({ session }: { readonly session: Session }) {
  const { path } = usePlace();
  return (
    <nav className="nav" aria-label="Main">
      {PLACES.filter(({ rule }) => session.may(rule)).map(({ path: room, label, icon: Icon, also }) => (
        <Link
          key={room}
          to={session.href([room])}
          aria-current={path[1] === room || path[1] === also ? 'page' : undefined}
        >
          <Icon />
          {label}
        </Link>
      ))}
    </nav>
  );
}

/** Administrators may look at the clusters of other tenants; so may everybody where nobody has to sign in. */
function TenantSwitch({ tenant }: { readonly tenant: string }) {
  const { permissions } = useSession();
  const [isOpen, setOpen] = useState(false);
  if (!permissions.is_admin) return <span className="tenant">{tenant}</span>;
  if (!isOpen) {
    return (
      <button
        type="button"
        className="tenant"
        onClick={() => setOpen(true)}
        aria-label={`Project ${tenant}: change it`}
      >
        {tenant}
      </button>
    );
  }
  return (
    <form
      className="tenant-form"
      onSubmit={(event) => {
        event.preventDefault();
        const next = String(new FormData(event.currentTarget).get('tenant') ?? '').trim();
        setOpen(false);
        if (next && next !== tenant) go(hrefTo([next, 'clusters']));
      }}
    >
      <input
        name="tenant"
        aria-label="Project to go to"
        defaultValue={tenant}
        // biome-ignore lint/a11y/noAutofocus: it takes the place of the button that was just pressed
        autoFocus
        onBlur={() => setOpen(false)}
        onKeyDown={(event) => event.key === 'Escape' && setOpen(false)}
      />
    </form>
  );
}

const THEME_TEXT: Readonly<Record<Theme, string>> = {
  system: 'as the system has it',
  light: 'light',
  dark: 'dark',
};

function ThemeSwitch() {
  const [theme, setTheme] = useState(chosenTheme);
  const next = nextTheme(theme);
  return (
    <Button
      kind="quiet"
      label={`Colours: ${THEME_TEXT[theme]}. Change to ${THEME_TEXT[next]}`}
      onClick={() => {
        chooseTheme(next);
        setTheme(next);
      }}
    >
      <ThemeIcon />
    </Button>
  );
}
