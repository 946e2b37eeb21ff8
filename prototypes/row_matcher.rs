use std::time::Instant;
use flate2::{Compress,Compression,FlushCompress};
const BLOCK:usize=256*1024;
// value marks: (start,end) per cell, rows: first cell index
struct Block{content:Vec<u8>,cells:Vec<(u32,u32)>,rows:Vec<u32>,cols:Vec<u8>}
fn parse(xml:&[u8])->Vec<Block>{
 // split at </row>
 let mut out=vec![]; let mut cur=Block{content:vec![],cells:vec![],rows:vec![],cols:vec![]};
 let mut i=0; 
 while i<xml.len(){
  let e=match find(&xml[i..],b"</row>"){Some(e)=>i+e+6,None=>xml.len()};
  let row=&xml[i..e]; let base=cur.content.len();
  cur.rows.push(cur.cells.len() as u32);
  // cells
  let mut p=0; while let Some(c)=find(&row[p..],b"<c r=\""){ let c=p+c; cur.cols.push(row[c+6]-b'A'); // find end </c> or />
   let g=c+find(&row[c..],b">").unwrap();
   if row[g-1]==b'/' {cur.cells.push(((base+g-1) as u32,(base+g-1) as u32)); p=g; continue;}
   let ce=c+find(&row[c..],b"</c>").unwrap();
   // value: between <v> and </v> or <t..> and </t>
   let (s,t)= if let Some(v)=find(&row[g..ce],b"<v>"){let s=g+v+3;(s,g+find(&row[g..ce],b"</v>").unwrap())} else {let v=find(&row[g..ce],b"<t").unwrap(); let s=g+v+find(&row[g+v..ce],b">").unwrap()+1;(s,g+find(&row[g..ce],b"</t>").unwrap())};
   cur.cells.push(((base+s) as u32,(base+t) as u32)); p=ce;}
  cur.content.extend_from_slice(row);
  i=e;
  if cur.content.len()>=BLOCK{out.push(std::mem::replace(&mut cur,Block{content:vec![],cells:vec![],rows:vec![],cols:vec![]}));}
 }
 if !cur.content.is_empty(){out.push(cur);} out}
fn find(h:&[u8],n:&[u8])->Option<usize>{h.windows(n.len()).position(|w|w==n)}
#[inline] fn common(c:&[u8],a:usize,b:usize,max:usize)->usize{ // len common of c[a..],c[b..]
 let mut k=0; while k+8<=max{ let x=u64::from_le_bytes(c[a+k..a+k+8].try_into().unwrap())^u64::from_le_bytes(c[b+k..b+k+8].try_into().unwrap()); if x!=0{return k+(x.trailing_zeros()/8) as usize;} k+=8;} while k<max&&c[a+k]==c[b+k]{k+=1} k}
struct Tok{t:Vec<u32>,lf:[u32;286],df:[u32;30]}
const LB:[u16;29]=[3,4,5,6,7,8,9,10,11,13,15,17,19,23,27,31,35,43,51,59,67,83,99,115,131,163,195,227,258];
const LE:[u8;29]=[0,0,0,0,0,0,0,0,1,1,1,1,2,2,2,2,3,3,3,3,4,4,4,4,5,5,5,5,0];
const DB:[u16;30]=[1,2,3,4,5,7,9,13,17,25,33,49,65,97,129,193,257,385,513,769,1025,1537,2049,3073,4097,6145,8193,12289,16385,24577];
const DE:[u8;30]=[0,0,0,0,1,1,2,2,3,3,4,4,5,5,6,6,7,7,8,8,9,9,10,10,11,11,12,12,13,13];
fn lcode_table()->[u8;259]{let mut t=[0;259]; for l in 3..=258usize{ let mut c=28; while (LB[c] as usize)>l{c-=1} t[l]=c as u8;} t[258]=28; t}
#[inline] fn dcode(d:u32)->usize{ let d=d-1; if d<4{d as usize}else{let n=31-d.leading_zeros(); (2*n+((d>>(n-1))&1)) as usize}}
impl Tok{
 #[inline] fn lit(&mut self,b:u8){self.t.push(b as u32);self.lf[b as usize]+=1;}
 #[inline] fn lits(&mut self,c:&[u8]){for &b in c{self.lit(b)}}
 #[inline] fn copy(&mut self,mut l:usize,d:usize,lt:&[u8;259],c:&[u8],pos:usize){ let mut pos=pos; while l>0{ let n=if l>258{ if l-258<3 {l-3}else{258} }else{l}; if n<3{self.lits(&c[pos..pos+n]);}else{let lc=lt[n]; let dc=dcode(d as u32); self.t.push(1<<31|(n as u32)<<16|(d as u32-1)); self.lf[257+lc as usize]+=1; self.df[dc]+=1;} pos+=n;l-=n;}}
}
#[inline] fn diff(tk:&mut Tok,lt:&[u8;259],c:&[u8],a:usize,ae:usize,b:usize,be:usize,min:usize){ // encode c[a..ae] against c[b..be] aligned
 let (mut i,mut j)=(a,b);
 while i<ae{ if j>=be{tk.lits(&c[i..ae]);return;}
  let k=common(c,i,j,(ae-i).min(be-j)); if k>=min{tk.copy(k,i-j,lt,c,i);}else{tk.lits(&c[i..i+k]);}
  i+=k;j+=k; if i<ae{tk.lit(c[i]);i+=1;j+=1;}}}
fn matcher(b:&Block,tk:&mut Tok,lt:&[u8;259],minv:usize){
 let c=&b.content[..]; tk.t.clear(); tk.lf=[0;286]; tk.df=[0;30];
 let mut pos=0usize; let mut last:[(usize,usize);26]=[(usize::MAX,0);26];
 for (i,&(_,ve)) in b.cells.iter().enumerate(){ let ve=ve as usize; let col=b.cols[i] as usize;
   let (ap,ae)=last[col]; last[col]=(pos,ve);
   if ap==usize::MAX||pos-ap>32768{tk.lits(&c[pos..ve]);}else{diff(tk,lt,c,pos,ve,ap,ae,minv);}
   pos=ve;
 }
 tk.lits(&c[pos..]); tk.t.push(256); tk.lf[256]+=1;
}
fn lengths(f:&[u32],maxbits:u32)->Vec<u8>{ let n=f.len(); let mut idx:Vec<usize>=(0..n).filter(|&i|f[i]>0).collect(); let mut out=vec![0u8;n];
 if idx.is_empty(){return out;} if idx.len()==1{out[idx[0]]=1;return out;}
 idx.sort_by_key(|&i|f[i]); let m=idx.len(); let mut w:Vec<u64>=idx.iter().map(|&i|f[i] as u64).collect(); let mut par=vec![0usize;2*m]; let mut nodes=m; let (mut a,mut b)=(0,m);
 while nodes<2*m-1{ let mut s=0; for _ in 0..2{ let pick=if a<m&&(b>=nodes||w[a]<=w[b]){a+=1;a-1}else{b+=1;b-1}; par[pick]=nodes; s+=w[pick];} w.push(s); nodes+=1;}
 let mut d=vec![0u32;2*m-1]; let mut cnt=[0u32;64]; for i in (0..2*m-2).rev(){d[i]=d[par[i]]+1;} for i in 0..m{cnt[(d[i].min(maxbits)) as usize]+=1;}
 let mut total:u64=0; for l in 1..=maxbits{total+=(cnt[l as usize] as u64)<<(maxbits-l);} while total>1<<maxbits{ cnt[maxbits as usize]-=1; for l in (1..maxbits).rev(){ if cnt[l as usize]>0{cnt[l as usize]-=1;cnt[l as usize+1]+=2;break;} } total-=1; }
 let mut i=0; for l in (1..=maxbits).rev(){for _ in 0..cnt[l as usize]{out[idx[i]]=l as u8;i+=1;}} out}
fn codes(l:&[u8])->Vec<u16>{let mut c=[0u16;17];for &x in l{c[x as usize]+=1;}c[0]=0;let mut n=[0u16;17];let mut code=0u16;for b in 1..=15{code=(code+c[b-1])<<1;n[b]=code;}l.iter().map(|&x|if x==0{0}else{let v=n[x as usize];n[x as usize]+=1;v.reverse_bits()>>(16-x)}).collect()}
struct Bits<'a>{o:&'a mut Vec<u8>,b:u64,n:u32}
impl Bits<'_>{#[inline] fn put(&mut self,v:u64,n:u32){self.b|=v<<self.n;self.n+=n; if self.n>=32{self.o.extend_from_slice(&(self.b as u32).to_le_bytes());self.b>>=32;self.n-=32;}}
 fn align(&mut self){while self.n>0{self.o.push(self.b as u8);self.b>>=8;self.n=self.n.saturating_sub(8);} self.b=0;}}
fn emit(tk:&Tok,out:&mut Vec<u8>,lt:&[u8;259]){
 let ll=lengths(&tk.lf,15); let mut df=tk.df; if df.iter().all(|&x|x==0){df[0]=1;} let dl=lengths(&df,15); let lc=codes(&ll); let dc=codes(&dl);
 let mut w=Bits{o:out,b:0,n:0}; w.put(0,1); w.put(2,2);
 let nl=(0..286).rev().find(|&i|ll[i]>0).unwrap()+1; let nl=nl.max(257); let nd=((0..30).rev().find(|&i|dl[i]>0).unwrap_or(0)+1).max(1);
 // simple RLE-less code lengths
 let all:Vec<u8>=ll[..nl].iter().chain(&dl[..nd]).copied().collect(); let mut f=[0u32;19]; for &x in &all{f[x as usize]+=1;} let cl=lengths(&f,7); let cc=codes(&cl);
 w.put(nl as u64-257,5); w.put(nd as u64-1,5); w.put(15,4); const O:[usize;19]=[16,17,18,0,8,7,9,6,10,5,11,4,12,3,13,2,14,1,15]; for o in O{w.put(cl[o] as u64,3);} for &x in &all{w.put(cc[x as usize] as u64,cl[x as usize] as u32);}
 // tables
 let mut lt2=[(0u32,0u32);259]; for l in 3..=258{let c=lt[l] as usize; let s=257+c; let bits=ll[s] as u32; let e=LE[c] as u32; let v=lc[s] as u32|((l as u32-LB[c] as u32)<<bits); lt2[l]=(v,bits+e);}
 for &t in &tk.t{ if t<=256{w.put(lc[t as usize] as u64,ll[t as usize] as u32);}else{ let l=((t>>16)&0x7fff) as usize; let d=(t&0xffff)+1; let (v,n)=lt2[l]; let k=dcode(d); let db=dl[k] as u32; let v2=dc[k] as u64|(((d-DB[k] as u32) as u64)<<db); let n2=db+DE[k] as u32; w.put(v as u64,n); w.put(v2,n2);} }
 // sync: empty stored block
 w.put(0,3); w.align(); w.o.extend_from_slice(&[0,0,0xff,0xff]);
}
fn main(){
 let xml=std::fs::read(std::env::args().nth(1).unwrap()).unwrap(); let minv:usize=std::env::args().nth(2).map_or(5,|s|s.parse().unwrap());
 let start=find(&xml,b"<sheetData>").unwrap()+11; let end=xml.len(); let blocks=parse(&xml[start..end]);
 let total:usize=blocks.iter().map(|b|b.content.len()).sum(); println!("{} blocks {} MB cells {}",blocks.len(),total/1_000_000,blocks.iter().map(|b|b.cells.len()).sum::<usize>());
 let lt=lcode_table();
 for _ in 0..2{ let t=Instant::now(); let mut tk=Tok{t:vec![],lf:[0;286],df:[0;30]}; let mut out=vec![]; let mut ntok=0; let mut mt=0.0; for b in &blocks{ let m=Instant::now(); matcher(b,&mut tk,&lt,minv); mt+=m.elapsed().as_secs_f64(); ntok+=tk.t.len(); emit(&tk,&mut out,&lt);} let e=t.elapsed().as_secs_f64(); println!("proto {:.3}s (match {:.3}) {:.1} MB, {:.1}M tokens",e,mt,out.len() as f64/1e6,ntok as f64/1e6);
  let mut o2=out.clone(); o2.extend_from_slice(&[3,0]); let back=miniz_oxide::inflate::decompress_to_vec(&o2).expect("inflate"); let mut p=0; for b in &blocks{assert!(back[p..p+b.content.len()]==b.content[..]);p+=b.content.len();}
 }
 for l in [1,2,3]{ let t=Instant::now(); let mut d=Compress::new(Compression::new(l),false); let mut out:Vec<u8>=Vec::with_capacity(total); for b in &blocks{ let mut rest=&b.content[..]; while !rest.is_empty(){let before=d.total_in(); d.compress_vec(rest,&mut out,FlushCompress::None).unwrap(); rest=&rest[(d.total_in()-before) as usize..]; if out.capacity()-out.len()<65536{out.reserve(1<<20);} } } println!("zlib-rs level {l}: {:.3}s {:.1} MB",t.elapsed().as_secs_f64(),out.len() as f64/1e6);}
 let t=Instant::now(); let mut h=crc32fast::Hasher::new(); for b in &blocks{h.update(&b.content);} println!("crc {:.3}s {}",t.elapsed().as_secs_f64(),h.finalize());
}
