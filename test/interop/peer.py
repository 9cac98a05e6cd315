"""Peers of Coffer on the message bus: Debian's oslo.messaging and Trove's own classes.

One process for a whole suite, since the imports take seconds. It reads one JSON object a line from its
standard input, `{"id": n, "do": "...", ...}`, and writes one a line: `{"id": n, "ok": ...}` or
`{"id": n, "error": {"class": ..., "message": ...}}`, and of its own accord `{"event": "...", ...}`."""
import json
import logging
import sys
import threading
import time

import oslo_messaging as messaging
from oslo_messaging.rpc import dispatcher
from oslo_utils import timeutils
from trove import rpc
from trove.common import cfg
from trove.common import context as trove_context
from trove.common import notification
from trove.common.rpc import secure_serializer
from trove.common.rpc import serializer as trove_serializer
from trove.conductor import api as conductor_api
from trove.guestagent import api as guest_api
from trove.taskmanager import api as taskmanager_api

CONF = cfg.CONF
OUTPUT = threading.Lock()
# Trove's conductor API reads who sends, and with which key, from the one configuration of its process.
IDENTITY = threading.Lock()
TENANT = '3f0a5b8c9d7e4f60a1b2c3d4e5f60718'


def say(message):
    with OUTPUT:
        sys.stdout.write(json.dumps(message) + '\n')
        sys.stdout.flush()


class Guest(object):
    """What a guest agent of Trove does for an upgrade, and no more. `post_upgrade` is optional there."""

    def __init__(self, order):
        self.id = order['instance_id']
        self.key = order.get('key')
        self.status = order.get('status', 'healthy')
        self.heartbeat_s = order.get('heartbeat_s', 0.2)
        self.down_s = order.get('down_s', 0.6)
        # What it reports while its server is away.
        self.down_status = order.get('down_status', 'shutdown')
        self.refusal = order.get('refusal')
        self.answer = order.get('answer', {'device': '/dev/vdb'})
        self.is_silent = order.get('is_silent', False)
        self.failures = list(order.get('failures', []))
        self.stopped = threading.Event()
        target = messaging.Target(topic='guestagent.' + self.id, server=self.id, version='1.1')
        base = trove_serializer.TroveRequestContextSerializer(None)
        self.server = messaging.get_rpc_server(
            rpc.TRANSPORT, target, [self.endpoint(order.get('post_upgrade', True))],
            executor='threading', access_policy=dispatcher.DefaultRPCAccessPolicy,
            serializer=secure_serializer.SecureSerializer(base, self.key))
        self.server.start()
        threading.Thread(target=self.pulse, daemon=True).start()

    def endpoint(self, has_post_upgrade):
        guest = self

        class Manager(object):
            def pre_upgrade(self, context):
                guest.tell('pre_upgrade', context, {})
                if guest.failures:
                    raise ValueError(guest.failures.pop(0))
                return guest.answer

            def upgrade(self, context, upgrade_info):
                guest.tell('upgrade', context, upgrade_info)
                guest.upgrade()

        class Later(Manager):
            def post_upgrade(self, context, upgrade_info):
                guest.tell('post_upgrade', context, upgrade_info)

        return Later() if has_post_upgrade else Manager()

    def tell(self, method, context, info):
        asked = getattr(context, 'notification', None)
        say({'event': 'guest', 'instance_id': self.id, 'method': method, 'upgrade_info': info,
             'user': context.user_id, 'project': context.project_id,
             'notification': asked and asked.serialize(context)})

    def upgrade(self):
        if self.refusal:
            raise ValueError(self.refusal)
        if not self.is_silent:
            self.status = self.down_status
            self.heartbeat()
            time.sleep(self.down_s)
        say({'event': 'guest', 'instance_id': self.id, 'method': 'is up'})
        self.status = 'healthy'
        self.heartbeat()

    def heartbeat(self):
        with IDENTITY:
            CONF.set_override('guest_id', self.id)
            CONF.set_override('instance_rpc_encr_key', self.key)
            conductor_api.API(trove_context.TroveContext()).heartbeat(
                self.id, {'service_status': self.status}, sent=timeutils.utcnow_ts(microsecond=True))

    def pulse(self):
        while not self.stopped.wait(self.heartbeat_s):
            self.heartbeat()

    def stop(self):
        self.stopped.set()
        self.server.stop()
        self.server.wait()


class Listener(object):
    def info(self, context, publisher_id, event_type, payload, metadata):
        say({'event': 'notification', 'publisher_id': publisher_id, 'event_type': event_type,
             'payload': payload, 'context': context, 'metadata': metadata})


class Peer(object):
    def __init__(self):
        self.guests = {}
        self.servers = []

    def transport(self, order):
        """From now on by this exchange, declared with these options of oslo.messaging."""
        exmods = rpc.get_allowed_exmods()
        messaging.set_transport_defaults(order['exchange'])
        rpc.TRANSPORT = messaging.get_rpc_transport(CONF, url=order['url'], allowed_remote_exmods=exmods)
        rpc.NOTIFICATION_TRANSPORT = messaging.get_notification_transport(CONF, url=order['url'])

    def client(self, order):
        target = messaging.Target(topic=order['topic'], version=order.get('version', '1.0'),
                                  namespace=order.get('namespace'))
        options = {'fanout': True} if order.get('fanout') else {}
        if order.get('server'):
            options['server'] = order['server']
        if order.get('timeout'):
            options['timeout'] = order['timeout']
        if order.get('monitor'):
            options['call_monitor_timeout'] = order['monitor']
        return messaging.RPCClient(rpc.TRANSPORT, target).prepare(**options)

    def cast(self, order):
        self.client(order).cast(order.get('context', {}), order['method'], **order['args'])

    def call(self, order):
        return self.client(order).call(order.get('context', {}), order['method'], **order['args'])

    def trove_context(self, kind, **payload):
        context = trove_context.TroveContext(
            user_id='user-1', project_id=TENANT, is_admin=False, auth_token='tok')
        # As trove-api: the notification comes from a request that it received.
        request = Request()
        context.notification = kind(context, request=request, **payload)
        return context

    def trove_upgrade_cluster(self, order):
        cluster_id, version_id = order['cluster_id'], order['version_id']
        context = self.trove_context(notification.DBaaSClusterUpgrade,
                                     cluster_id=cluster_id, datastore_version=version_id)
        taskmanager_api.API(context).upgrade_cluster(cluster_id, version_id)
        return context.request_id

    def trove_upgrade_instance(self, order):
        instance_id, version_id = order['instance_id'], order['version_id']
        context = self.trove_context(notification.DBaaSInstanceUpgrade,
                                     instance_id=instance_id, datastore_version_id=version_id)
        taskmanager_api.API(context).upgrade(instance_id, version_id)
        return context.request_id

    def trove_guest(self, order):
        """What Trove's taskmanager says to a guest, or asks of it."""
        instance_id = order['instance_id']
        context = self.trove_context(notification.DBaaSInstanceUpgrade,
                                     instance_id=instance_id, datastore_version_id='a version')
        return getattr(GuestApi(context, instance_id), order['method'])(**order['args'])

    def secure(self, order):
        CONF.set_override('enable_secure_rpc_messaging', order['on'])

    def serve_guest(self, order):
        self.guests[order['instance_id']] = Guest(order)

    def stop_guest(self, order):
        self.guests.pop(order['instance_id']).stop()

    def set_guest(self, order):
        for name, value in order['values'].items():
            setattr(self.guests[order['instance_id']], name, value)

    def serve(self, order):
        """A plain server: of another service, or a guest that behaves as captured for a caller."""
        class Endpoint(object):
            def slow(self, context, seconds):
                time.sleep(seconds)
                return 'done'

            def fail(self, context):
                raise ValueError('plain failure', 42)

            def note(self, context, **args):
                say({'event': 'noted', 'topic': order['topic'], 'args': args, 'context': context})
                return args

        target = messaging.Target(topic=order['topic'], server=order['server'], version='1.1')
        server = messaging.get_rpc_server(rpc.TRANSPORT, target, [Endpoint()], executor='threading',
                                          access_policy=dispatcher.DefaultRPCAccessPolicy)
        server.start()
        self.servers.append(server)

    def serve_conductor(self, order):
        class Endpoint(object):
            def heartbeat(self, context, instance_id, payload, sent):
                say({'event': 'heartbeat', 'instance_id': instance_id, 'payload': payload, 'sent': sent})

        target = messaging.Target(topic='trove-conductor', server='conductor-1', version='1.0')
        server = messaging.get_rpc_server(rpc.TRANSPORT, target, [Endpoint()], executor='threading',
                                          access_policy=dispatcher.DefaultRPCAccessPolicy)
        server.start()
        self.servers.append(server)

    def listen(self, order):
        listener = messaging.get_notification_listener(
            rpc.NOTIFICATION_TRANSPORT, [messaging.Target(topic='notifications')], [Listener()],
            executor='threading')
        listener.start()
        self.servers.append(listener)


class GuestApi(guest_api.API):
    """Trove's own, but for where it finds the guest's key: not in a database."""

    def get_client(self, target, version_cap, serializer=None):
        return rpc.get_client(target, key=None, version_cap=version_cap, serializer=serializer)


class Request(object):
    """What Trove's notifications want to know of the HTTP request that they are about."""
    remote_addr = '127.0.0.1'
    host = '127.0.0.1:8779'
    headers = {}


def answer(peer, order):
    try:
        say({'id': order['id'], 'ok': getattr(peer, order['do'])(order)})
    except Exception as error:  # whatever it is, the test is told
        name = getattr(error, 'exc_type', None) or type(error).__name__.split('_Remote')[0]
        message = getattr(error, 'value', None) or str(error).split('\n')[0]
        say({'id': order['id'], 'error': {'class': name, 'message': message}})


def main():
    logging.basicConfig(level=logging.ERROR, stream=sys.stderr)
    cfg.parse_args(['peer', '--config-file', '/dev/null'])
    say({'event': 'ready'})
    peer = Peer()
    for line in sys.stdin:
        threading.Thread(target=answer, args=(peer, json.loads(line)), daemon=True).start()


main()
