/**
 * Who uses the dashboard, for which tenant. The token is held only here, in memory: a reload forgets it. When
 * the token has expired, the user signs in again in a dialog over the screen, which stays unchanged.
 */
import { createContext, type ReactNode, useCallback, useContext, useEffect, useMemo, useState } from 'react';
import {
  CofferApiError,
  type CofferClient,
  createClient,
  identify,
  type PermissionsDocument,
} from '../client/index.ts';
import { isAsked } from './entrance.tsx';
import { Spinner } from './parts/basics.tsx';
import { FailureNote } from './parts/failure.tsx';
import { API_URL, go, hrefTo } from './router.tsx';
import { type SignIn, SignInDialog, SignInPage } from './sign-in.tsx';

export interface Session {
  readonly client: CofferClient;
  readonly tenant: string;
  readonly permissions: PermissionsDocument;
  /** Whether a rule of the API allows the action: actions that are not allowed are not offered. */
  may(rule: string): boolean;
  /** No request is sent until there is a valid token again. */
  readonly isExpired: boolean;
  /** The time since when the API has not answered; null while it answers. */
  readonly awaySince: number | null;
  /** The address of a place of this tenant. */
  href(path: readonly string[], query?: Readonly<Record<string, string>>): string;
  signOut(): void;
}

const Context = createContext<Session | null>(null);

export function useSession(): Session {
  const session = useContext(Context);
  if (!session) throw new Error('used outside of a session');
  return session;
}

interface Known {
  readonly client: CofferClient;
  readonly permissions: PermissionsDocument;
}

interface SessionGateProps {
  readonly tenant: string;
  /** The last sign-in that was typed; an administrator's token is valid for any tenant. */
  readonly signIn: SignIn | undefined;
  readonly onSignIn: (signIn: SignIn) => void;
  readonly children: ReactNode;
}

/** Where the API requires a sign-in, admits only users who have signed in. */
export function SessionGate({ tenant, signIn, onSignIn, children }: SessionGateProps) {
  const token = signIn?.token;
  const [known, setKnown] = useState<Known>();
  const [refusal, setRefusal] = useState<unknown>();
  const [tries, setTries] = useState(0);
  const { fetch, isExpired, setExpired, awaySince } = useWatchedFetch();
  // biome-ignore lint/correctness/useExhaustiveDependencies: another try wants a new client, so that the screens ask again
  const client = useMemo(
    () =>
      createClient({
        endpoint: `${API_URL}/${encodeURIComponent(tenant)}`,
        fetch,
        ...(token && { token }),
      }),
    [tenant, token, fetch, tries],
  );
  useEffect(() => {
    let isCurrent = true;
    client.permissions().then(
      (permissions) => {
        if (!isCurrent) return;
        setKnown({ client, permissions });
        setRefusal(undefined);
        setExpired(false);
      },
      async (error: unknown) => {
        const own = await ownProject(error, signIn, tenant);
        if (!isCurrent) return;
        if (own === null) setRefusal(error);
        else go(hrefTo([own, 'clusters']), { replace: true });
      },
    );
    return () => {
      isCurrent = false;
    };
  }, [client, setExpired, signIn, tenant]);
  const session = useMemo(
    () => known && sessionOf(known, { tenant, isExpired, awaySince, signOut: () => location.reload() }),
    [known, tenant, isExpired, awaySince],
  );
  const onAgain = (next: SignIn) => {
    setRefusal(undefined);
    onSignIn(next);
    setTries(tries + 1);
  };
  const wrong = isAsked(refusal) && token !== undefined ? (refusal as Error) : null;
  if (session) {
    return (
      <Context value={session}>
        {children}
        {isExpired && <SignInDialog refusal={wrong} onSignIn={onAgain} />}
      </Context>
    );
  }
  if (isAsked(refusal)) return <SignInPage refusal={wrong} onSignIn={onAgain} />;
  if (refusal === undefined) return <Spinner label="Asking the API who you are" />;
  return (
    <main className="alone">
      <FailureNote error={refusal} what="The dashboard could not start" onRetry={() => setTries(tries + 1)} />
    </main>
  );
}

/**
 * The address may name a project that the token is not for: a bookmarked project, or one that does not exist.
 * Then the dashboard goes to the token's own project, unless the user asked for the other project by name.
 * Null where there is no project to go to.
 */
async function ownProject(
  error: unknown,
  signIn: SignIn | undefined,
  tenant: string,
): Promise<string | null> {
  const isForeign = error instanceof CofferApiError && error.status === 403;
  if (!isForeign || signIn === undefined || signIn.project === tenant) return null;
  const known = await identify({ endpoint: API_URL, token: signIn.token }).catch(() => null);
  return known === null || known.project_id === tenant ? null : known.project_id;
}

function sessionOf(
  { client, permissions }: Known,
  rest: Pick<Session, 'tenant' | 'isExpired' | 'awaySince' | 'signOut'>,
): Session {
  const rules = new Set(permissions.rules);
  return {
    ...rest,
    client,
    permissions,
    may: (rule) => rules.has(rule),
    href: (path, query) => hrefTo([rest.tenant, ...path], query),
  };
}

/** A `fetch` that notices when the token is no longer accepted, and when the API does not answer. */
function useWatchedFetch() {
  const [isExpired, setExpired] = useState(false);
  const [awaySince, setAwaySince] = useState<number | null>(null);
  const watched = useCallback<typeof fetch>(async (input, init) => {
    try {
      const response = await fetch(input, init);
      setAwaySince(null);
      if (response.status === 401) setExpired(true);
      return response;
    } catch (error) {
      // A screen that the user has left has aborted its requests.
      if (!init?.signal?.aborted) setAwaySince((since) => since ?? Date.now());
      throw error;
    }
  }, []);
  return { fetch: watched, isExpired, setExpired, awaySince };
}
