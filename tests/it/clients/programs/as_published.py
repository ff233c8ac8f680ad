import requests

BASE = 'http://127.0.0.1:8000'

def register(email, password):
      r = requests.post(f'{BASE}/api/auth/register', json={'email': email, 'password': password})
      r.raise_for_status()
      return r.json()

def login(email, password):
      r = requests.post(f'{BASE}/api/auth/login', json={'email': email, 'password': password})
      r.raise_for_status()
      return r.json()['access_token']

def chat(token, message, session_id=None):
      headers = {'Authorization': f'Bearer {token}'}
      r = requests.post(f'{BASE}/api/chat', json={'message': message, 'session_id': session_id}, headers=headers)
      r.raise_for_status()
      return r.json()

if __name__ == '__main__':
      email = 'user@example.com'
      password = 'SuperSecret123!'
      register(email, password)
      token = login(email, password)
      resp = chat(token, 'Hello, how are you?')
      print(resp)
