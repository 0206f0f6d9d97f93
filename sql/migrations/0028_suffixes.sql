BEGIN;
-- A calendar for every suffix and index of Yahoo, and none that is borrowed: a symbol without a rule had
-- the sessions of New York, so that an entry could be a close five hours in the past.
SET LOCAL search_path = public;
SET LOCAL lock_timeout = '3s';
SELECT pg_advisory_xact_lock(1380271947, 2);

-- The exchange's time zone; a provider that names another has another listing in mind.
ALTER TABLE market_calendars ADD COLUMN IF NOT EXISTS timezone text;

-- Yahoo's suffixes that had none. Regional exchanges without a calendar of their own keep Frankfurt's.
INSERT INTO symbol_rules (pattern, provider_symbol, calendar, priority, note) VALUES
    ('.+\.BE', NULL, 'XFRA', 0, 'Berlin'),
    ('.+\.BM', NULL, 'XFRA', 0, 'Bremen'),
    ('.+\.DU', NULL, 'XDUS', 0, 'Dusseldorf'),
    ('.+\.HM', NULL, 'XHAM', 0, 'Hamburg'),
    ('.+\.HA', NULL, 'XHAM', 0, 'Hanover'),
    ('.+\.MU', NULL, 'XFRA', 0, 'Munich'),
    ('.+\.SG', NULL, 'XSTU', 0, 'Stuttgart'),
    ('.+\.IL', NULL, 'XLON', 0, 'London, international order book'),
    ('.+\.XC', NULL, 'XLON', 0, 'Cboe UK'),
    ('.+\.XD', NULL, 'XLON', 0, 'Cboe Europe'),
    ('.+\.AQ', NULL, 'XLON', 0, 'Aquis'),
    ('.+\.TI', NULL, 'XMIL', 0, 'EuroTLX'),
    ('.+\.NX', NULL, 'XPAR', 0, 'Euronext'),
    ('.+\.AT', NULL, 'ASEX', 0, 'Athens'),
    ('.+\.BD', NULL, 'XBUD', 0, 'Budapest'),
    ('.+\.PR', NULL, 'XPRA', 0, 'Prague'),
    ('.+\.IC', NULL, 'XICE', 0, 'Iceland'),
    ('.+\.RO', NULL, 'XBSE', 0, 'Bucharest'),
    ('.+\.TL', NULL, 'XTAL', 0, 'Tallinn'),
    ('.+\.RG', NULL, 'XRIS', 0, 'Riga'),
    ('.+\.VS', NULL, 'XLIT', 0, 'Vilnius'),
    ('.+\.ME', NULL, 'XMOS', 0, 'Moscow'),
    ('.+\.ZA', NULL, 'XZAG', 0, 'Zagreb'),
    ('.+\.LU', NULL, 'XLUX', 0, 'Luxembourg'),
    ('.+\.CN', NULL, 'XTSE', 0, 'Canadian Securities Exchange'),
    ('.+\.NE', NULL, 'XTSE', 0, 'Cboe Canada'),
    ('.+\.BA', NULL, 'XBUE', 0, 'Buenos Aires'),
    ('.+\.SN', NULL, 'XSGO', 0, 'Santiago'),
    ('.+\.CL', NULL, 'XBOG', 0, 'Bogota'),
    ('.+\.LM', NULL, 'XLIM', 0, 'Lima'),
    ('.+\.SR', NULL, 'XSAU', 0, 'Saudi Exchange'),
    ('.+\.SAU', NULL, 'XSAU', 0, 'Saudi Exchange'),
    ('.+\.PS', NULL, 'XPHS', 0, 'Philippines'),
    ('.+\.KA', NULL, 'XKAR', 0, 'Karachi'),
    ('.+\.PK', NULL, 'XNYS', 0, 'OTC in New York'),
    ('.+\.OB', NULL, 'XNYS', 0, 'OTC in New York'),
    ('.+\.NYB', NULL, 'CMES', 0, 'ICE futures'),
    ('.+\.CBT', NULL, 'CMES', 0, 'Chicago Board of Trade'),
    ('.+\.CME', NULL, 'CMES', 0, 'Chicago Mercantile Exchange'),
    ('.+\.CMX', NULL, 'CMES', 0, 'Comex'),
    ('.+\.NYM', NULL, 'CMES', 0, 'Nymex')
ON CONFLICT (pattern) DO NOTHING;

-- Yahoo's indices, by the calendar of their exchange.
INSERT INTO symbol_rules (pattern, provider_symbol, calendar, priority, note)
SELECT '\^' || name, NULL, i.calendar, 20, 'index'
FROM (VALUES
    ('XNYS', 'SPX GSPC DJI DJT DJU DJA IXIC NDX NYA XAX RUT RUI RUA VIX VIX3M VIX9D VXN VVIX OVX GVZ SKEW '
        'MOVE TNX TYX IRX FVX OEX XEO MID SP400 SP600 SP1500 W5000 SOX BKX KBW HUI XAU XOI XNG GSPE XMI '
        'SPXEW SP500TR SP500-15 SP500-20 SP500-25 SP500-30 SP500-35 SP500-40 SP500-45 SP500-50 SP500-55 '
        'SP500-60 NYFANG PUT BXM SVX SGX NDXE QNET IXCO NBI'),
    ('XLON', 'FTSE FTMC FTAI FTLC FTSC BUK100P'),
    ('XETR', 'GDAXI MDAXI SDAXI TECDAX STOXX STOXX50E STOXX50 V1XI VDAX'),
    ('XPAR', 'FCHI SBF120 N100 N150'),
    ('XBRU', 'BFX'),
    ('XAMS', 'AEX AMX'),
    ('XLIS', 'PSI20'),
    ('XDUB', 'ISEQ'),
    ('XMAD', 'IBEX'),
    ('XSWX', 'SSMI SSHI'),
    ('XWBO', 'ATX'),
    ('XSTO', 'OMX OMXS30 OMXSPI OMXN40'),
    ('XCSE', 'OMXC20 OMXC25'),
    ('XHEL', 'OMXH25 OMXHPI'),
    ('XOSL', 'OSEAX OBX'),
    ('XICE', 'OMXI15 OMXIPI'),
    ('XBUD', 'BUX'),
    ('ASEX', 'ATG'),
    ('XTSE', 'GSPTSE TX60'),
    ('XMEX', 'MXX'),
    ('BVMF', 'BVSP IBX50'),
    ('XBUE', 'MERV'),
    ('XSGO', 'IPSA'),
    ('XHKG', 'HSI HSCE HSCC HSTECH'),
    ('XTKS', 'N225 N300 TPX'),
    ('XKRX', 'KS11 KS200 KQ11'),
    ('XTAI', 'TWII TWOII'),
    ('XASX', 'AXJO AXKO AORD ATLI AXMJ AFLI'),
    ('XNZE', 'NZ50 NZ20'),
    ('XSES', 'STI'),
    ('XBOM', 'BSESN BSE500 BSEMD NSEI NSEBANK NSMIDCP CNX100 CNX200 CRSLDX CNXIT CNXPHARMA CNXFMCG CNXAUTO '
        'CNXMETAL CNXREALTY CNXENERGY CNXINFRA CNXPSE CNXMEDIA CNXPSUBANK CNXFIN NSEMDCP50 INDIAVIX'),
    ('XIDX', 'JKSE JKLQ45'),
    ('XKLS', 'KLSE'),
    ('XTAE', 'TA125 TA35'),
    ('XIST', 'XU100'),
    ('XSAU', 'TASI'),
    ('XJSE', 'JN0U JALSH'),
    ('XMOS', 'IMOEX MOEX RTSI')) AS i(calendar, names)
CROSS JOIN LATERAL string_to_table(i.names, ' ') AS name
ON CONFLICT (pattern) DO NOTHING;

-- Registered tickers that had New York's sessions only for want of a rule. The next sweep gives them the
-- calendar of a rule, and computes their outcomes anew (calendars_assign in 53_outcomes_sessions.sql).
UPDATE ticker_registry r SET calendar = '?'
WHERE r.calendar = 'XNYS' AND coalesce(r.provider_symbol, r.symbol) !~ '^[A-Z][A-Z0-9-]*$'
  AND NOT EXISTS (SELECT FROM symbol_rules u WHERE u.calendar = 'XNYS' AND r.symbol ~ ('^(?:' || u.pattern || ')$'));
INSERT INTO reckoner_schema (name, checksum) VALUES
    ('migrations/0028_suffixes.sql', '')
ON CONFLICT (name) DO UPDATE SET checksum = excluded.checksum, applied_at = now();
INSERT INTO reckoner_schema (name, checksum) VALUES
    ('migrations/0028_suffixes.sql', '41bf8d60e027b15bd6d0444242cf9d05eb432b80b4870100d28381843ae37082')
ON CONFLICT (name) DO UPDATE SET checksum = excluded.checksum, applied_at = now();
COMMIT;
