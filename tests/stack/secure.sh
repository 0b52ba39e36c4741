# SPDX-License-Identifier: Apache-2.0
#
# Sourced by stack.sh: passwords, TLS and certificates of the servers. What a server needs lies in the
# folder SECURE_DIR, which the caller fills (tests/e2e/lib/certificates.py makes one):
#
#   ca.pem                  who signed the certificates of servers and of clients
#   etcd.pem, etcd.key      the source's etcd          target.pem, target.key   the target
#   milvus.pem, milvus.key  the source Milvus as a client of its etcd; its CN is the etcd user
#   kafka.pem, kafka-expired.pem   each with its key in the same file
#   kafka.password          of the user cdc
#
# Settings (remembered, see stack.sh):
#
#   TARGET_TLS    0: none, 1: the target shows a certificate, 2: it also wants one (0)
#   ETCD_TLS      0: none, 1: the source's etcd has a second listener with TLS, 2: which wants a
#                 certificate, and which the source Milvus then uses (0)
#   KAFKA_SECURE  true: Kafka has four more listeners (false): SASL in the clear, SASL with TLS, TLS that
#                 wants a certificate, and SASL with TLS whose certificate has expired
#
# The listeners that were there before stay as they are: the source Milvus goes on using Kafka's.

port+=(
	[source-etcd-tls]=$((base + 40))
	[kafka-sasl]=$((base + 41)) [kafka-sasl-tls]=$((base + 42))
	[kafka-mtls]=$((base + 43)) [kafka-expired]=$((base + 44))
	[target-http]=$((base + 50)) # with TLS its HTTP API cannot share the port of gRPC
)

secure_dir()
{
	local dir

	dir=$(setting SECURE_DIR "")
	[ -r "$dir/ca.pem" ] || die "SECURE_DIR is '$dir': there is no $dir/ca.pem"
	echo "$dir"
}

etcd_tls() # prints the level of the source's etcd
{
	setting ETCD_TLS 0
}

etcd_tls_options() # CLIENT-URL: the options of a second listener, in the array etcd_options
{
	local dir tls=https://$host:${port[source-etcd-tls]}

	dir=$(secure_dir)
	etcd_options=(--listen-client-urls "$1,$tls" --advertise-client-urls "$1,$tls"
		--cert-file "$dir/etcd.pem" --key-file "$dir/etcd.key")
	[ "$(etcd_tls)" != 2 ] || etcd_options+=(--client-cert-auth --trusted-ca-file "$dir/ca.pem")
}

kafka_secure_properties() # lines that replace those of the same name
{
	local dir user name

	dir=$(secure_dir)
	user="username=\"admin\" password=\"-\" user_admin=\"-\" user_cdc=\"$(<"$dir/kafka.password")\";"
	cat <<-EOF
	listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SASL:SASL_PLAINTEXT,SASLTLS:SASL_SSL,MTLS:SSL,EXPIRED:SASL_SSL
	listeners=PLAINTEXT://$host:${port[kafka]},CONTROLLER://$host:${port[kafka-controller]},$(kafka_listeners)
	advertised.listeners=PLAINTEXT://$host:${port[kafka]},$(kafka_listeners)
	ssl.truststore.type=PEM
	ssl.truststore.location=$dir/ca.pem
	ssl.keystore.type=PEM
	ssl.keystore.location=$dir/kafka.pem
	listener.name.expired.ssl.keystore.type=PEM
	listener.name.expired.ssl.keystore.location=$dir/kafka-expired.pem
	listener.name.mtls.ssl.client.auth=required
	EOF
	for name in sasl sasltls expired; do
		cat <<-EOF
		listener.name.$name.sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512
		listener.name.$name.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required $user
		listener.name.$name.scram-sha-256.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
		listener.name.$name.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
		# a session ends: a password that was changed is asked for again
		listener.name.$name.plain.connections.max.reauth.ms=3000
		listener.name.$name.scram-sha-256.connections.max.reauth.ms=3000
		listener.name.$name.scram-sha-512.connections.max.reauth.ms=3000
		EOF
	done
}

kafka_listeners()
{
	printf 'SASL://%s:%s,SASLTLS://%s:%s,MTLS://%s:%s,EXPIRED://%s:%s' \
		$host ${port[kafka-sasl]} $host ${port[kafka-sasl-tls]} \
		$host ${port[kafka-mtls]} $host ${port[kafka-expired]}
}

milvus_secure_settings() # PART: lines of milvus_settings
{
	local dir

	echo "common.security.authorizationEnabled=$(setting "${1^^}_AUTH" false)"
	# a Milvus that was restarted sends no ticks and changes no user until its old session has ended
	[ -z "$(setting SECURE_DIR "")" ] || echo "common.session.ttl=10"
	if [ "$1" = target ] && [ "$(setting TARGET_TLS 0)" != 0 ]; then
		dir=$(secure_dir)
		cat <<-EOF
		common.security.tlsMode=$(setting TARGET_TLS 0)
		tls.serverPemPath=$dir/target.pem
		tls.serverKeyPath=$dir/target.key
		tls.caPemPath=$dir/ca.pem
		EOF
	elif [ "$1" = source ] && [ "$(etcd_tls)" = 2 ]; then
		dir=$(secure_dir)
		cat <<-EOF
		etcd.ssl.enabled=true
		etcd.ssl.tlsCert=$dir/milvus.pem
		etcd.ssl.tlsKey=$dir/milvus.key
		etcd.ssl.tlsCACert=$dir/ca.pem
		EOF
	fi
}

etcd_port_of() # source|target: where that Milvus finds its etcd
{
	if [ "$1" = source ] && [ "$(etcd_tls)" = 2 ]; then
		echo "${port[source-etcd-tls]}"
	else
		echo "${port[$1-etcd]}"
	fi
}

http_port_of() # PART: NAME=VALUE for its environment, or nothing
{
	[ "$1" = source ] || [ "$(setting TARGET_TLS 0)" = 0 ] || echo "PROXY_HTTP_PORT=${port[target-http]}"
}

# A real call through proxy and root coordinator, as root.
collections_of() # PART
{
	local login

	login="Authorization: Bearer root:$(setting "${1^^}_PASSWORD" Milvus)"
	if [ "$1" = target ] && [ "$(setting TARGET_TLS 0)" != 0 ]; then
		# whose certificate it is does not matter here: the test asks that
		get "${port[target-http]}/v1/vector/collections" -H "$login" -k --proto-default https \
			--cert "$(secure_dir)/milvus.pem" --key "$(secure_dir)/milvus.key"
	else
		get "${port[$1]}/v1/vector/collections" -H "$login"
	fi
}
