// A real OpenID provider for tests: whoever types a name is that person.
// PROVIDER holds {module, port, issuer, client} as JSON.
const { module, port, issuer, client } = JSON.parse(process.env.PROVIDER);
const { Provider } = await import(module);

const provider = new Provider(issuer, {
  clients: [client, { ...client, client_id: 'another' }],
  claims: { openid: ['sub'], profile: ['name', 'preferred_username'], email: ['email', 'email_verified'] },
  cookies: { keys: ['of these tests'] },
  features: { devInteractions: { enabled: true }, rpInitiatedLogout: { enabled: true } },
  findAccount: (context, id) => ({
    accountId: id,
    claims: () => ({
      sub: id,
      name: `${id[0].toUpperCase()}${id.slice(1)} of the tests`,
      preferred_username: id,
      email: `${id}@example.org`,
      email_verified: !id.startsWith('un'),
    }),
  }),
  pkce: { required: () => true },
});
provider.listen(port, '127.0.0.1');
