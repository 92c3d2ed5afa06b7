// A certified OpenID provider on a free port of this machine. It prints its own address, each request and each new
// key, one JSON object a line. SIGHUP gives it another key to sign with; the one before stays in its key set.

import { generateKeyPairSync } from 'node:crypto';
import { createServer } from 'node:http';
import Provider from 'oidc-provider';

const secret = process.env.OIDC_CLIENT_SECRET;
const formats = { 'https://jwt.shop.example/': 'jwt', 'https://opaque.shop.example/': 'opaque' };
const scopes = 'orders:read orders:write';
const keys = [];
let answer;
let issuer;

const say = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);

function rotate() {
  const kid = `key-${keys.length + 1}`;
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  keys.unshift({ ...privateKey.export({ format: 'jwk' }), kid, alg: 'RS256', use: 'sig' });
  const provider = new Provider(issuer, configuration());
  provider.use(login(provider));
  answer = provider.callback();
  say({ key: kid });
}

const client = (client_id, other) => ({ client_id, client_secret: secret, redirect_uris: [], response_types: [], ...other });

const configuration = () => ({
  clients: [
    client('batch', { grant_types: ['client_credentials'] }),
    client('app', {
      grant_types: ['authorization_code'],
      response_types: ['code'],
      redirect_uris: ['https://app.shop.example/back'],
    }),
    // The one that asks about tokens.
    client('gate', { grant_types: [] }),
  ],
  jwks: { keys },
  cookies: { keys: [secret] },
  pkce: { required: () => false },
  findAccount: (_, accountId) => ({ accountId, claims: () => ({ sub: accountId }) }),
  interactions: { url: (_, interaction) => `/login/${interaction.uid}` },
  loadExistingGrant: granted,
  features: {
    devInteractions: { enabled: false },
    clientCredentials: { enabled: true },
    dPoP: { enabled: true },
    introspection: { enabled: true },
    revocation: { enabled: true },
    resourceIndicators: {
      enabled: true,
      useGrantedResource: () => true,
      getResourceServerInfo: (_, resource) => ({
        scope: scopes,
        audience: 'shop',
        accessTokenTTL: 300,
        accessTokenFormat: formats[resource],
        jwt: { sign: { alg: 'RS256' } },
      }),
    },
  },
});

// Whoever comes is who `login_hint` says.
const login = (provider) => async (ctx, next) => {
  if (!ctx.path.startsWith('/login/')) return next();
  const { params } = await provider.interactionDetails(ctx.req, ctx.res);
  ctx.respond = false;
  return provider.interactionFinished(ctx.req, ctx.res, { login: { accountId: params.login_hint } });
};

// And whatever the client asks for is granted.
async function granted(ctx) {
  const { provider, client: asking, session, params } = ctx.oidc;
  const grant = new provider.Grant({ clientId: asking.clientId, accountId: session.accountId });
  grant.addOIDCScope('openid');
  grant.addResourceScope(params.resource, scopes);
  await grant.save();
  return grant;
}

const server = createServer((request, response) => {
  say({ request: request.url.split('?')[0] });
  answer(request, response);
});
server.listen(0, '127.0.0.1', () => {
  issuer = `http://127.0.0.1:${server.address().port}`;
  rotate();
  say({ issuer });
});
process.on('SIGHUP', rotate);
