-- Written by guardrail 0.1.0 before the log had migrations: sqlite3's dump.
BEGIN TRANSACTION;
CREATE TABLE decisions (
	id VARCHAR(64) NOT NULL, 
	time FLOAT NOT NULL, 
	updated FLOAT NOT NULL, 
	action VARCHAR(8) NOT NULL, 
	severity INTEGER NOT NULL, 
	enforced BOOLEAN NOT NULL, 
	reasons TEXT NOT NULL, 
	details JSON NOT NULL, 
	source VARCHAR(16), 
	client TEXT, 
	session TEXT, 
	tags JSON NOT NULL, 
	timings JSON NOT NULL, 
	verdict VARCHAR(16), 
	radius FLOAT, 
	image_sha256 JSON, 
	certificate JSON, 
	PRIMARY KEY (id)
);
INSERT INTO "decisions" VALUES('3571054f883c4b13a877ae70a45d68c9',1.79607319738432431224e+09,1.7960731974044754505e+09,'block',2,1,',answer_harmful,','[]','computed','alice','s','["t", "u"]','{"images": 0.08046999982980196, "smoothing": 22.105801999941832, "total": 23.501897999949506, "screen": 8.538772000065364}','harmless',1.85396267697909900018e-01,'["2a96036f6db9f70bf277a8bf6a1d01e8e20ca416ff5227c681b4422b973c8fda"]','{"version": 2, "verdict": "harmless", "certified_class": "harmless", "radius": 0.1853962676979099, "radius_oracle": 0.1853962676979099, "radius_true": null, "radius_original_pixels": 0.1853962676979099, "q_lower": 0.6446039692132046, "p_lower": null, "counts": {"harmful": 0, "harmless": 16, "illegible": 0}, "failures": {}, "draws": 16, "selection_draws": 0, "budget": 20, "tokens": 0, "looks": [11, 13, 16], "stop_reason": "target", "method": "sequential(looks=11,13,16,20, alpha=0.001, spending=power(0.52))", "rigorous": true, "sigma": 0.5, "alpha": 0.001, "alpha_draws": 0.001, "alpha_oracle": 0.0, "class_rule": "harmless, harmful: each at alpha", "oracle_error": "not measured: about the oracle''s verdict only", "image_sha256": ["2a96036f6db9f70bf277a8bf6a1d01e8e20ca416ff5227c681b4422b973c8fda"], "resolution": [[4, 4]], "prompt_sha256": "d6e4b93d8532e1372fabe9dffd647c4d97f23fa975ceaed44d43c452077a6de8", "model": "half-space", "oracle": "lexicon/d16b74121fb8", "representative": null, "oracle_time_share": 0.014325828162238437, "answer": "good", "derived_from": null, "distance": 0.0, "warnings": ["oracle error not measured: the radius protects the oracle''s verdict, not what the answers really are", "recall of harmful images under noise not measured: a model that cannot see certifies everything harmless"]}');
INSERT INTO "decisions" VALUES('f8bbbf83880c45b797d8162b6562aa17',1.79607319741975212093e+09,1.79607319741975212093e+09,'block',2,1,',certified_harmful,','[]','computed','bob',NULL,'[]','{"images": 0.05355999996936589, "smoothing": 12.714327000139747, "total": 13.281776999974682}','harmful',1.85396267697909900018e-01,'["8e6acf5a351a97e53b29b18a4192944de5ac5953da7a0b59892e0788696f49af"]','{"version": 2, "verdict": "harmful", "certified_class": "harmful", "radius": 0.1853962676979099, "radius_oracle": 0.1853962676979099, "radius_true": null, "radius_original_pixels": 0.1853962676979099, "q_lower": 0.6446039692132046, "p_lower": null, "counts": {"harmful": 16, "harmless": 0, "illegible": 0}, "failures": {}, "draws": 16, "selection_draws": 0, "budget": 20, "tokens": 0, "looks": [11, 13, 16], "stop_reason": "target", "method": "sequential(looks=11,13,16,20, alpha=0.001, spending=power(0.52))", "rigorous": true, "sigma": 0.5, "alpha": 0.001, "alpha_draws": 0.001, "alpha_oracle": 0.0, "class_rule": "harmless, harmful: each at alpha", "oracle_error": "not measured: about the oracle''s verdict only", "image_sha256": ["8e6acf5a351a97e53b29b18a4192944de5ac5953da7a0b59892e0788696f49af"], "resolution": [[4, 4]], "prompt_sha256": "d6e4b93d8532e1372fabe9dffd647c4d97f23fa975ceaed44d43c452077a6de8", "model": "half-space", "oracle": "lexicon/d16b74121fb8", "representative": null, "oracle_time_share": 0.016104774638237885, "answer": null, "derived_from": null, "distance": 0.0, "warnings": ["oracle error not measured: the radius protects the oracle''s verdict, not what the answers really are", "recall of harmful images under noise not measured: a model that cannot see certifies everything harmless"]}');
INSERT INTO "decisions" VALUES('ffffffffffffffffffffffffffffffff',1.79607319743499374391e+09,1.79607319743499374391e+09,'flag',1,1,',small_radius,','[]',NULL,'it''s 100 % \ "Zoë"',NULL,'[]','{}',NULL,NULL,'null','null');
INSERT INTO "decisions" VALUES('aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa',1.79607319744440197947e+09,1.79607319744440197947e+09,'allow',0,1,',','[]',NULL,NULL,NULL,'[]','{}',NULL,NULL,'null','null');
INSERT INTO "decisions" VALUES('ab99e7c679584fd680464b1f3b40692b',1.79607319746087169647e+09,1.79607319746087169647e+09,'block',2,1,',overridden,','["image 2a96036f6db9\u2026 is blocked by an operator until 2100-01-01 00:00 UTC: a copyright claim"]',NULL,'alice',NULL,'[]','{"images": 0.05656600001202605, "total": 0.31402700005855877}',NULL,NULL,'null','null');
CREATE TABLE guardrail_schema (
	version INTEGER NOT NULL, 
	PRIMARY KEY (version)
);
INSERT INTO "guardrail_schema" VALUES(1);
CREATE TABLE overrides (
	image_sha256 VARCHAR(64) NOT NULL, 
	action VARCHAR(8) NOT NULL, 
	reason TEXT NOT NULL, 
	created FLOAT NOT NULL, 
	expires FLOAT NOT NULL, 
	PRIMARY KEY (image_sha256)
);
INSERT INTO "overrides" VALUES('2a96036f6db9f70bf277a8bf6a1d01e8e20ca416ff5227c681b4422b973c8fda','block','a copyright claim',1796073197.44724,4102444800.0);
INSERT INTO "overrides" VALUES('8e6acf5a351a97e53b29b18a4192944de5ac5953da7a0b59892e0788696f49af','allow','a false alarm',1.79607319745467805863e+09,4102444800.0);
CREATE INDEX decisions_by_time ON decisions (time);
CREATE INDEX decisions_by_action ON decisions (severity, time);
CREATE INDEX decisions_by_client ON decisions (client, time);
COMMIT;
