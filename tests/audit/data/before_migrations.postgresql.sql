-- Written by guardrail 0.1.0 before the log had migrations: what pg_dump --inserts says of tables and rows.
CREATE TABLE public.decisions (
    id character varying(64) NOT NULL,
    "time" double precision NOT NULL,
    updated double precision NOT NULL,
    action character varying(8) NOT NULL,
    severity integer NOT NULL,
    enforced boolean NOT NULL,
    reasons text NOT NULL,
    details json NOT NULL,
    source character varying(16),
    client text,
    session text,
    tags json NOT NULL,
    timings json NOT NULL,
    verdict character varying(16),
    radius double precision,
    image_sha256 json,
    certificate json
);
CREATE TABLE public.guardrail_schema (
    version integer NOT NULL
);
CREATE TABLE public.overrides (
    image_sha256 character varying(64) NOT NULL,
    action character varying(8) NOT NULL,
    reason text NOT NULL,
    created double precision NOT NULL,
    expires double precision NOT NULL
);
INSERT INTO public.decisions VALUES ('f53ad1a6408f4418b17570671c447fd1', 1796073204.9116864, 1796073204.9473016, 'block', 2, true, ',answer_harmful,', '[]', 'computed', 'alice', 's', '["t", "u"]', '{"images": 0.07017100006123655, "smoothing": 13.763796999910483, "total": 14.612070000111999, "screen": 0.35464300003695826}', 'harmless', 0.1853962676979099, '["2a96036f6db9f70bf277a8bf6a1d01e8e20ca416ff5227c681b4422b973c8fda"]', '{"version": 2, "verdict": "harmless", "certified_class": "harmless", "radius": 0.1853962676979099, "radius_oracle": 0.1853962676979099, "radius_true": null, "radius_original_pixels": 0.1853962676979099, "q_lower": 0.6446039692132046, "p_lower": null, "counts": {"harmful": 0, "harmless": 16, "illegible": 0}, "failures": {}, "draws": 16, "selection_draws": 0, "budget": 20, "tokens": 0, "looks": [11, 13, 16], "stop_reason": "target", "method": "sequential(looks=11,13,16,20, alpha=0.001, spending=power(0.52))", "rigorous": true, "sigma": 0.5, "alpha": 0.001, "alpha_draws": 0.001, "alpha_oracle": 0.0, "class_rule": "harmless, harmful: each at alpha", "oracle_error": "not measured: about the oracle''s verdict only", "image_sha256": ["2a96036f6db9f70bf277a8bf6a1d01e8e20ca416ff5227c681b4422b973c8fda"], "resolution": [[4, 4]], "prompt_sha256": "d6e4b93d8532e1372fabe9dffd647c4d97f23fa975ceaed44d43c452077a6de8", "model": "half-space", "oracle": "lexicon/d16b74121fb8", "representative": null, "oracle_time_share": 0.021709369357080052, "answer": "good", "derived_from": null, "distance": 0.0, "warnings": ["oracle error not measured: the radius protects the oracle''s verdict, not what the answers really are", "recall of harmful images under noise not measured: a model that cannot see certifies everything harmless"]}');
INSERT INTO public.decisions VALUES ('135ba124f0df41aca83d3351b1fba5f3', 1796073204.9720707, 1796073204.9720707, 'block', 2, true, ',certified_harmful,', '[]', 'computed', 'bob', NULL, '[]', '{"images": 0.05173599993213429, "smoothing": 2.8646880000451347, "total": 3.343071000017517}', 'harmful', 0.1853962676979099, '["8e6acf5a351a97e53b29b18a4192944de5ac5953da7a0b59892e0788696f49af"]', '{"version": 2, "verdict": "harmful", "certified_class": "harmful", "radius": 0.1853962676979099, "radius_oracle": 0.1853962676979099, "radius_true": null, "radius_original_pixels": 0.1853962676979099, "q_lower": 0.6446039692132046, "p_lower": null, "counts": {"harmful": 16, "harmless": 0, "illegible": 0}, "failures": {}, "draws": 16, "selection_draws": 0, "budget": 20, "tokens": 0, "looks": [11, 13, 16], "stop_reason": "target", "method": "sequential(looks=11,13,16,20, alpha=0.001, spending=power(0.52))", "rigorous": true, "sigma": 0.5, "alpha": 0.001, "alpha_draws": 0.001, "alpha_oracle": 0.0, "class_rule": "harmless, harmful: each at alpha", "oracle_error": "not measured: about the oracle''s verdict only", "image_sha256": ["8e6acf5a351a97e53b29b18a4192944de5ac5953da7a0b59892e0788696f49af"], "resolution": [[4, 4]], "prompt_sha256": "d6e4b93d8532e1372fabe9dffd647c4d97f23fa975ceaed44d43c452077a6de8", "model": "half-space", "oracle": "lexicon/d16b74121fb8", "representative": null, "oracle_time_share": 0.05622212739905727, "answer": null, "derived_from": null, "distance": 0.0, "warnings": ["oracle error not measured: the radius protects the oracle''s verdict, not what the answers really are", "recall of harmful images under noise not measured: a model that cannot see certifies everything harmless"]}');
INSERT INTO public.decisions VALUES ('ffffffffffffffffffffffffffffffff', 1796073204.9891129, 1796073204.9891129, 'flag', 1, true, ',small_radius,', '[]', NULL, 'it''s 100 % \ "Zoë"', NULL, '[]', '{}', NULL, NULL, 'null', 'null');
INSERT INTO public.decisions VALUES ('aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa', 1796073205.0085454, 1796073205.0085454, 'allow', 0, true, ',', '[]', NULL, NULL, NULL, '[]', '{}', NULL, NULL, 'null', 'null');
INSERT INTO public.decisions VALUES ('348d10153e42472a834022930b97e088', 1796073205.0510836, 1796073205.0510836, 'block', 2, true, ',overridden,', '["image 2a96036f6db9\u2026 is blocked by an operator until 2100-01-01 00:00 UTC: a copyright claim"]', NULL, 'alice', NULL, '[]', '{"images": 0.057777000165515346, "total": 0.32896500010792806}', NULL, NULL, 'null', 'null');
INSERT INTO public.guardrail_schema VALUES (1);
INSERT INTO public.overrides VALUES ('2a96036f6db9f70bf277a8bf6a1d01e8e20ca416ff5227c681b4422b973c8fda', 'block', 'a copyright claim', 1796073205.023707, 4102444800);
INSERT INTO public.overrides VALUES ('8e6acf5a351a97e53b29b18a4192944de5ac5953da7a0b59892e0788696f49af', 'allow', 'a false alarm', 1796073205.038394, 4102444800);
ALTER TABLE ONLY public.decisions
    ADD CONSTRAINT decisions_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.guardrail_schema
    ADD CONSTRAINT guardrail_schema_pkey PRIMARY KEY (version);
ALTER TABLE ONLY public.overrides
    ADD CONSTRAINT overrides_pkey PRIMARY KEY (image_sha256);
CREATE INDEX decisions_by_action ON public.decisions USING btree (severity, "time");
CREATE INDEX decisions_by_client ON public.decisions USING btree (client, "time");
CREATE INDEX decisions_by_time ON public.decisions USING btree ("time");
